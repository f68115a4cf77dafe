"""Random commands of several people and random detections, against the real service and the model of its rules.

States, timestamps, history and events have to agree after every step. `COMPASS_MODEL_EXAMPLES` makes it look longer.
"""

import asyncio
import os
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from deploy.local.postgres import EmbeddedPostgres
from services.workflow.main import create
from services.workflow.settings import WorkflowSettings
from shared.events.topics import COMPASS_SIGNALS
from shared.events.vocabulary import UserRole
from shared.inbox import Message
from tests.support.factories import message
from tests.support.service import service_under_test
from tests.workflow.model import STAMPS, STATUSES, Entity, Interval, Tag
from tests.workflow.world import (
    ADMIN,
    CLINICAL,
    EVERYBODY,
    LEADERSHIP,
    NURSING,
    OFFICE,
    OTHER_ADMIN,
    VIEWER,
    Somebody,
    World,
    detection,
    signal_event,
    user_event,
)

EXAMPLES = int(os.environ.get("COMPASS_MODEL_EXAMPLES", "25"))
STEPS = 25

EVENTS = ("signal.assigned", "signal.reopened", "status.changed", "comment.added", "intervention.activated")

Result = TypeVar("Result")

people = st.sampled_from([CLINICAL, NURSING, OFFICE, ADMIN, OTHER_ADMIN, VIEWER])
workers = st.sampled_from([CLINICAL, NURSING, ADMIN])
roles = st.sampled_from(LEADERSHIP)
statuses = st.sampled_from(STATUSES)
tags: st.SearchStrategy[Tag] = st.sampled_from(["none", "none", "present", "present", "any", "stale"])
entities = st.integers(0, 1)
# Mostly the current detection, else one of those before it, or one that nobody has heard of.
backs = st.sampled_from([0, 0, 0, 0, 0, 1, 2, -50])


class Workflow(RuleBasedStateMachine):
    """Two entities and everybody who may or may not work on them."""

    def __init__(self, postgres: EmbeddedPostgres, runner: asyncio.Runner, reached: set[str]) -> None:
        super().__init__()
        self.reached = reached
        self.runner = runner
        self.left = AsyncExitStack()
        self.ids = [uuid4(), uuid4()]
        self.models = [Entity(), Entity()]
        self.heard: list[Message] = []
        self.world = self._run(self._begin(postgres))

    async def _begin(self, postgres: EmbeddedPostgres) -> World:
        service = await self.left.enter_async_context(
            service_under_test("workflow", create, WorkflowSettings, postgres)
        )
        world = World(service)
        await world.hear_users(*(user_event(user) for user in EVERYBODY))
        return world

    def teardown(self) -> None:
        self._run(self.left.aclose())

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    # Detections

    @initialize()
    def both_are_detected(self) -> None:
        self._detect([(0, 1), (1, 1)])

    @rule(which=entities, steps=st.lists(st.integers(1, 3), min_size=1, max_size=3), other=st.booleans())
    def detected_again(self, which: int, steps: list[int], other: bool) -> None:
        """Newer detections, in any order within their batch, and the other entity's between them."""
        numbers = [(which, self.models[which].current + step) for step in steps]
        self._detect([*numbers, (1 - which, self.models[1 - which].current + 1)] if other else numbers)

    @rule(which=entities, number=st.integers(0, 40))
    def heard_of_late(self, which: int, number: int) -> None:
        """A detection that lies before the current one."""
        self._detect([(which, min(number, self.models[which].current))])

    @rule(places=st.lists(st.integers(1, 20), min_size=1, max_size=5))
    def delivered_again(self, places: list[int]) -> None:
        """From Kafka, the same messages; from the relay, the same events under other offsets."""
        again = [self.heard[-min(place, len(self.heard))] for place in places]
        anew = [message(COMPASS_SIGNALS, found.value) for found in again]
        self._run(self.world.hear_messages(*again))
        self._run(self.world.hear_messages(*anew))
        self._agree(0)
        self._agree(1)

    def _detect(self, detections: list[tuple[int, int]]) -> None:
        batch = [
            message(COMPASS_SIGNALS, signal_event(self.ids[which], number, "redetected"))
            for which, number in detections
        ]
        self.heard += batch
        self._run(self.world.hear_messages(*batch))
        for which, number in detections:
            self.models[which].detect(number)
        for which in {which for which, _ in detections}:
            self._agree(which)

    # Commands

    @rule(who=people, which=entities, back=backs, to=st.sampled_from(EVERYBODY), role=roles, tag=tags)
    def assign(self, who: Somebody, which: int, back: int, to: Somebody, role: UserRole, tag: Tag) -> None:
        number, body = self._number(which, back), {"assignee_id": to.id, "role_type": role}
        answer, at = self._call(who, "POST", which, number, "assign", body, tag)
        self._expect(answer, self.models[which].assign(who, number, to, role, tag, at))
        self._agree(which, who)

    @rule(who=workers, which=entities, to=workers)
    def assign_well(self, who: Somebody, which: int, to: Somebody) -> None:
        """So that most stories get somewhere."""
        role = to.role if to.role in LEADERSHIP else UserRole.ADMINISTRATION
        self.assign(who, which, 0, to, role, "none")

    @rule(who=people, which=entities, back=backs, to=statuses, tag=tags, notes=st.booleans())
    def move(self, who: Somebody, which: int, back: int, to: str, tag: Tag, notes: bool) -> None:
        number = self._number(which, back)
        body = {"status": to} | ({"resolution_notes": "Done."} if notes else {})
        answer, at = self._call(who, "PATCH", which, number, "status", body, tag)
        self._expect(answer, self.models[which].move(who, number, to, tag, at, notes=notes, back=False))
        self._agree(which, who)

    @rule(which=entities, data=st.data(), steps=st.integers(1, 6))
    def go_on(self, which: int, data: st.DataObject, steps: int) -> None:
        """Whoever may move it does, forward more often than back, so that stories get to their end."""
        model = self.models[which]
        for _ in range(steps):
            work = model.work_at(model.current)
            status = work.status if work else "new"
            if status == "new":
                self.assign_well(data.draw(workers), which, data.draw(workers))
                continue
            moves = [(to, who) for who in EVERYBODY for to in model.allowed(who, model.current)]
            forward = [(to, who) for to, who in moves if STATUSES.index(to) > STATUSES.index(status)]
            if moves:
                to, who = data.draw(st.sampled_from(forward * 5 + moves))
                self.move(who, which, 0, to, "none", to == "resolved")

    @rule(which=entities, data=st.data(), months=st.integers(1, 3))
    def a_round_and_back(self, which: int, data: st.DataObject, months: int) -> None:
        """All the way, and then the entity is detected again."""
        self.go_on(which, data, 6)
        self.detected_again(which, [months], other=False)

    @rule(who=people, which=entities, back=backs, tag=tags)
    def unassign(self, who: Somebody, which: int, back: int, tag: Tag) -> None:
        number = self._number(which, back)
        answer, at = self._call(who, "DELETE", which, number, "assignment", None, tag)
        self._expect(answer, self.models[which].move(who, number, "new", tag, at, notes=False, back=True))
        self._agree(which, who)

    @rule(who=people, which=entities, back=backs, intervene=st.booleans())
    def say(self, who: Somebody, which: int, back: int, intervene: bool) -> None:
        number = self._number(which, back)
        what, event = ("interventions", "intervention.activated") if intervene else ("comments", "comment.added")
        body = {"kind": "playbook", "title": "Rounds"} if intervene else {"text": "Look at this."}
        answer, _ = self._call(who, "POST", which, number, what, body, "none")
        self._expect(answer, self.models[which].say(who, number, event))
        self._agree(which, who)

    @rule(who=workers, data=st.data())
    def many_at_once(self, who: Somebody, data: st.DataObject) -> None:
        """A bulk request is its items, one after the other."""
        drawn = data.draw(
            st.lists(st.tuples(entities, backs, st.none() | statuses, workers, st.booleans()), min_size=1, max_size=6)
        )
        items = []
        for which, back, to, assignee, notes in drawn:
            item: dict[str, Any] = {"signal_id": detection(self.ids[which], self._number(which, back))}
            if to is None:
                item["assign"] = {"assignee_id": assignee.id, "role_type": "nursing_leadership"}
            else:
                item["move"] = {"status": to} | ({"resolution_notes": "Done."} if notes else {})
            items.append(item)
        start = datetime.now(UTC)
        answer = self._run(self.world.call(who, "POST", "/assignments/bulk", {"items": items}))
        at = (start, datetime.now(UTC))
        assert answer.status_code == 200, answer.text
        for (which, back, to, assignee, notes), result in zip(drawn, answer.json()["results"], strict=True):
            model, number = self.models[which], self._number(which, back)
            if to is None:
                expected = model.assign(who, number, assignee, UserRole.NURSING_LEADERSHIP, "none", at)
            else:
                expected = model.move(who, number, to, "none", at, notes=notes, back=False)
            assert (result["status"], result["problem"] and result["problem"]["code"]) == expected
        self._agree(0, who)
        self._agree(1, who)

    def _number(self, which: int, back: int) -> int:
        return max(self.models[which].current - back, 0)

    def _call(
        self, who: Somebody, method: str, which: int, number: int, what: str, body: Any, tag: Tag
    ) -> tuple[httpx.Response, Interval]:
        signal = detection(self.ids[which], number)
        if_match = {"none": None, "stale": '"999"', "any": "*", "present": None}[tag]
        if tag == "present" and number in self.models[which].known:
            if_match = self._run(self.world.show(signal))["etag"]
        start = datetime.now(UTC)
        path = f"/signals/{signal}/{what}"
        answer = self._run(self.world.call(who, method, path, body, if_match=if_match))
        return answer, (start, datetime.now(UTC))

    def _expect(self, answer: httpx.Response, expected: tuple[int, str | None]) -> None:
        code = None if answer.status_code < 300 else answer.json()["code"]
        assert (answer.status_code, code) == expected, answer.text

    # Agreement

    def _agree(self, which: int, who: Somebody = VIEWER) -> None:
        model = self.models[which]
        self._run(self._compare(self.ids[which], model, who))
        self.reached.update(work.status for work in model.works)
        self.reached.update(event for _, event, _ in model.events)

    async def _compare(self, entity: UUID, model: Entity, who: Somebody) -> None:
        numbers = {detection(entity, number): number for number in model.known}
        for number in sorted(model.known)[-3:]:
            self._compare_shown(await self.world.show(detection(entity, number), who), model, number, who)
        lines = await self.world.history(detection(entity, model.current))
        assert [
            (line["kind"], line["from_status"], line["to_status"], line["by"] and line["by"]["name"], line["signal_id"])
            for line in lines
        ] == [(*line[:4], str(detection(entity, line[4]))) for line in model.history]
        names = {user.id: user.name for user in EVERYBODY}
        told = await self.world.events_of(*numbers)
        assert [(numbers[found["subject"]], found["type"], names.get(found["actor"])) for found in told] == model.events
        for number in model.known:
            sequences = [found["sequence"] for found in told if numbers[found["subject"]] == number]
            assert sequences == list(range(1, len(sequences) + 1))

    def _compare_shown(self, shown: dict[str, Any], model: Entity, number: int, who: Somebody) -> None:
        work = model.work_at(number)
        entity = UUID(shown["entity_id"])
        current, reopens = detection(entity, model.current), model.reopens(number)
        assert shown["status"] == (work.status if work else "new")
        assert shown["superseded_by"] == (None if number == model.current else str(current))
        assert (shown["reopens"] or {}).get("signal_id") == (
            None if reopens is None else str(detection(entity, reopens))
        )
        assert shown["allowed_next_statuses"] == model.allowed(who, number)
        for name, person in (
            ("assignee", work and work.assignee),
            ("assigner", work and work.assigner),
            ("resolved_by", work and work.resolver),
        ):
            assert (shown[name] or {}).get("name") == (person.name if person else None)
        for stamp in STAMPS.values():
            seen, interval = shown[stamp], work.stamps.get(stamp) if work else None
            assert (seen is None) == (interval is None), stamp
            if seen is not None and interval is not None:
                assert interval[0] <= datetime.fromisoformat(seen) <= interval[1], stamp


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.timeout(max(240, EXAMPLES * 10))
def test_the_service_and_the_model_agree(postgres: EmbeddedPostgres, runner: asyncio.Runner) -> None:
    reached: set[str] = set()

    class Here(Workflow):
        def __init__(self) -> None:
            super().__init__(postgres, runner, reached)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize="COMPASS_MODEL_EXAMPLES" not in os.environ,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
    assert reached == {*STATUSES, *EVENTS}
