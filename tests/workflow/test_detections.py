"""What newer, older and repeated detections do to the work on an entity."""

import itertools
import random
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from faststream.kafka import TestKafkaBroker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.events.topics import COMPASS_SIGNALS
from shared.kafka import BatchProcessor, create_broker
from tests.support.factories import message
from tests.support.service import ServiceUnderTest
from tests.workflow.world import (
    ADMIN,
    CLINICAL,
    NURSING,
    OFFICE,
    World,
    detection,
    event,
    kinds,
    problem,
    signal_event,
    user_event,
)

KEPT = (
    "id",
    "status",
    "assignee",
    "assigner",
    "role_type",
    "notes",
    "resolution_notes",
    "resolved_by",
    "assigned_at",
    "started_at",
    "resolved_at",
    "due_at",
    "created_at",
)


@pytest.mark.parametrize("status", ["assigned", "in_progress", "resolved"])
async def test_an_open_assignment_goes_on_with_the_newer_detection(world: World, status: str) -> None:
    entity = uuid4()
    old, new = detection(entity, 1), detection(entity, 2)
    await world.hear_signals(signal_event(entity, 1))
    await world.bring_to(old, status)
    before = await world.show(old)
    await world.hear_signals(signal_event(entity, 2, "redetected"))

    after = await world.show(new)
    assert {name: after[name] for name in KEPT} == {name: before[name] for name in KEPT}
    assert (after["superseded_by"], after["reopens"]) == (None, None)
    assert after["etag"] != before["etag"]
    (carried,) = await world.events_of(new)
    assert (carried["type"], carried["feed"], carried["actor"]) == ("signal.assigned", "assignment", None)
    assert (carried["data"]["reason"], carried["sequence"]) == ("carried_over", 1)
    assert carried["data"]["superseded_signal_id"] == str(old)
    assert carried["data"]["changed"] == ["signal_id"]
    assert carried["summary"] == (
        "‘breachRate at Northfield General’ was detected again: the assignment to Nursing Lead goes on with the new "
        f"signal ({status.replace('_', ' ')})."
    )
    lines = await world.history(new)
    assert lines == await world.history(old)
    assert (lines[-1]["kind"], lines[-1]["by"], lines[-1]["previous_signal_id"]) == ("carried_over", None, str(old))
    assert await world.move(new, ADMIN, {"assigned": "in_progress", "in_progress": "resolved"}.get(status, "closed"))


async def test_the_old_signal_answers_what_superseded_it_and_takes_no_writes(world: World) -> None:
    entity = uuid4()
    old, new = detection(entity, 1), detection(entity, 3)
    await world.hear_signals(signal_event(entity, 1))
    await world.bring_to(old, "assigned")
    stale = (await world.show(old))["etag"]
    await world.hear_signals(signal_event(entity, 2, "redetected"), signal_event(entity, 3, "redetected"))

    seen = await world.show(old, NURSING)
    assert (seen["superseded_by"], seen["status"], seen["allowed_next_statuses"]) == (str(new), "assigned", [])
    for answer in (
        await world.assign(old),
        await world.move(old, NURSING, "in_progress"),
        await world.call(NURSING, "DELETE", f"/signals/{old}/assignment"),
        await world.move(old, NURSING, "in_progress", if_match=seen["etag"]),
    ):
        assert problem(answer) == (409, "superseded")
        assert str(new) in answer.json()["detail"]
    assert problem(await world.move(old, NURSING, "in_progress", if_match=stale)) == (412, "stale_version")
    assert problem(await world.move(new, NURSING, "in_progress", if_match=stale)) == (412, "stale_version")
    assert (await world.move(new, NURSING, "in_progress")).status_code == 200


async def test_a_closed_assignment_stays_and_the_new_signal_is_linked_to_it(world: World) -> None:
    entity = uuid4()
    old, new, newest = (detection(entity, number) for number in (1, 2, 3))
    await world.hear_signals(signal_event(entity, 1))
    await world.bring_to(old, "closed")
    before = await world.show(old)
    await world.hear_signals(signal_event(entity, 2, "redetected"))

    assert {name: (await world.show(old))[name] for name in KEPT} == {name: before[name] for name in KEPT}
    seen = await world.show(new)
    assert (seen["status"], seen["id"]) == ("new", None)
    assert seen["reopens"] == {"signal_id": str(old), "closed_at": before["closed_at"]}
    (reopened,) = await world.events_of(new)
    assert (reopened["type"], reopened["feed"], reopened["sequence"]) == ("signal.reopened", "new_signal", 1)
    assert reopened["data"]["closed_signal_id"] == str(old)
    assert "is back" in reopened["summary"]

    # The last signal is new now, so the next one reopens nothing, and is linked all the same.
    await world.hear_signals(signal_event(entity, 3, "redetected"))
    assert await world.events_of(newest) == []
    assert (await world.show(newest))["reopens"]["signal_id"] == str(old)
    # A second round beside the closed one; its history shows along the chain.
    assert (await world.assign(newest, NURSING, CLINICAL)).status_code == 200
    assert [line["signal_id"] for line in await world.history(newest)] == [str(old)] * 4 + [str(newest)]


async def test_an_untouched_signal_carries_nothing(world: World) -> None:
    entity = uuid4()
    await world.hear_signals(signal_event(entity, 1), signal_event(entity, 2, "redetected"))
    assert await world.service.events() == []
    assert (await world.show(detection(entity, 1)))["superseded_by"] == str(detection(entity, 2))
    assert (await world.show(detection(entity, 2)))["status"] == "new"


async def test_an_assignment_taken_back_to_new_goes_on_too(world: World) -> None:
    entity = uuid4()
    await world.hear_signals(signal_event(entity, 1))
    await world.bring_to(detection(entity, 1), "assigned")
    await world.move(detection(entity, 1), NURSING, "new")
    await world.hear_signals(signal_event(entity, 2, "redetected"))
    assert len(await world.history(detection(entity, 2))) == 3
    assert (await world.assign(detection(entity, 2))).status_code == 200
    assert await world.service.rows("SELECT count(*) AS n FROM assignments") == [{"n": 1}]


async def test_history_that_arrives_moves_nothing(world: World) -> None:
    entity = uuid4()
    await world.hear_signals(signal_event(entity, 2))
    current = detection(entity, 2)
    await world.bring_to(current, "assigned")
    before = await world.show(current)
    await world.hear_signals(signal_event(entity, 1, "recorded", is_current=False))
    await world.hear_signals(signal_event(entity, 1, "detected"))
    # Newer than what is known here, but history where it comes from: its successor is still on the way.
    await world.hear_signals(signal_event(entity, 3, "recorded", is_current=False))
    assert await world.show(current) == before
    assert len(await world.service.events()) == 1
    await world.hear_signals(signal_event(entity, 4, "redetected"))
    (carried,) = await world.events_of(detection(entity, 4))
    assert carried["data"]["superseded_signal_id"] == str(current)


@pytest.mark.parametrize("kind", ["corrected", "snapshot"])
async def test_a_newer_detection_counts_however_it_is_first_heard_of(world: World, kind: str) -> None:
    entity = uuid4()
    await world.hear_signals(signal_event(entity, 1))
    await world.bring_to(detection(entity, 1), "assigned")
    await world.hear_signals(signal_event(entity, 2, kind, sequence=2))
    await world.hear_signals(signal_event(entity, 2, "redetected", sequence=1))
    assert kinds(await world.events_of(detection(entity, 2))) == ["signal.assigned"]


async def test_two_entities_in_one_batch_keep_apart(world: World) -> None:
    first, second = uuid4(), uuid4()
    await world.hear_signals(signal_event(first, 1), signal_event(second, 1))
    await world.bring_to(detection(first, 1), "assigned")
    await world.bring_to(detection(second, 1), "closed")
    await world.hear_signals(
        signal_event(second, 2, "redetected"),
        signal_event(first, 2, "redetected"),
        signal_event(first, 3, "redetected"),
    )
    assert kinds(await world.events_of(detection(first, 2), detection(first, 3))) == ["signal.assigned"] * 2
    assert kinds(await world.events_of(detection(second, 2))) == ["signal.reopened"]


async def test_an_older_event_of_a_signal_changes_nothing_that_is_known(world: World) -> None:
    entity = uuid4()
    await world.hear_signals(
        signal_event(entity, 1, "corrected", sequence=3, facility="Third", simplified_severity=70),
        signal_event(entity, 1, "corrected", sequence=2, facility="Second"),
    )
    await world.hear_signals(signal_event(entity, 1, "detected", facility="First"))
    rows = await world.service.rows("SELECT facility, severity, sequence FROM known_signals")
    assert rows == [{"facility": "Third", "severity": 70, "sequence": 3}]
    await world.hear_signals(signal_event(entity, 1, "corrected", sequence=4, facility="Fourth"))
    assert (await world.service.rows("SELECT facility FROM known_signals")) == [{"facility": "Fourth"}]


async def test_messages_that_are_no_concern_and_messages_that_never_work(world: World) -> None:
    entity = uuid4()
    await world.hear_signals(
        b"no json",
        event("signals", "compass.insight.generated.v1", uuid4(), 1, {}),
        event("signals", "compass.signal.praised.v1", uuid4(), 1, {}),
        event("signals", "compass.signal.detected.v2", uuid4(), 1, {}),
        event("signals", "compass.signal.detected.v1", uuid4(), 1, {"signal": {}}),
        signal_event(entity, 1),
    )
    assert [letter["code"] for letter in await world.service.dead_letters()] == [
        "invalid_json",
        "future_version",
        "invalid_field",
    ]
    assert (await world.show(detection(entity, 1)))["status"] == "new"
    await world.hear_users(b"null", event("auth", "compass.login.failed.v1", uuid4(), 1, {}), user_event(OFFICE))
    assert len(await world.service.dead_letters()) == 4


async def test_signals_arrive_through_the_broker(service: ServiceUnderTest) -> None:
    (subscription,) = (
        consumer.subscription
        for consumer in service.app.state.consumers.consumers
        if consumer.subscription.group == "workflow.signals"
    )
    processor = BatchProcessor("workflow", subscription, service.session_maker)
    broker = create_broker(service.settings, subscription, processor)
    entity = uuid4()
    async with TestKafkaBroker(broker) as test_broker:
        await test_broker.publish_batch(signal_event(entity, 1), topic=COMPASS_SIGNALS.name)
    rows = await service.rows("SELECT signal_id, is_current FROM known_signals")
    assert rows == [{"signal_id": detection(entity, 1), "is_current": True}]


@dataclass(frozen=True)
class Story:
    """What the signals service publishes about one entity after its first detection, and how it comes."""

    status: str
    detections: int
    recorded: tuple[int, ...]
    corrected: tuple[int, ...]
    repeated: tuple[int, ...]
    order: int
    batches: int

    def events(self, entity: UUID) -> list[bytes]:
        """In the order of publication: redetections of the months 10, 20, ...; history; corrections."""
        newest = self.detections * 10
        events = [signal_event(entity, number * 10, "redetected") for number in range(2, self.detections + 1)]
        events += [signal_event(entity, number, "recorded", is_current=False) for number in self.recorded]
        events += [
            signal_event(entity, number, "corrected", sequence=2, is_current=number == newest, description="Corrected.")
            for number in self.corrected
        ]
        return events


@st.composite
def stories(draw: st.DrawFn) -> Story:
    detections = draw(st.integers(2, 4))
    recorded = draw(st.lists(st.integers(1, detections * 10 - 1).filter(lambda n: n % 10), max_size=2, unique=True))
    known = [number * 10 for number in range(1, detections + 1)] + recorded
    corrected = draw(st.lists(st.sampled_from(known), max_size=2, unique=True))
    count = detections - 1 + len(recorded) + len(corrected)
    return Story(
        status=draw(st.sampled_from(["new", "assigned", "in_progress", "resolved", "closed"])),
        detections=detections,
        recorded=tuple(recorded),
        corrected=tuple(corrected),
        repeated=tuple(draw(st.lists(st.integers(0, count - 1), max_size=3))),
        order=draw(st.integers(0, 2**31)),
        batches=draw(st.integers(1, 4)),
    )


@given(story=stories())
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_order_repetition_and_batching_ends_the_same(world: World, story: Story) -> None:
    entity = uuid4()
    first, newest = detection(entity, 10), detection(entity, story.detections * 10)
    await world.hear_signals(signal_event(entity, 10))
    await world.bring_to(first, story.status)
    before = await world.show(first)

    published = story.events(entity)
    arriving = published + [published[index] for index in story.repeated]  # again, from the relay
    random.Random(story.order).shuffle(arriving)  # noqa: S311 - no secret
    size = -(-len(arriving) // story.batches)
    for start in range(0, len(arriving), size):
        batch = [message(COMPASS_SIGNALS, event) for event in arriving[start : start + size]]
        await world.hear_messages(*batch)
        await world.hear_messages(*batch)  # again, from Kafka

    await _check_the_end(world, story, entity, before)
    assert (await world.show(newest))["superseded_by"] is None


async def _check_the_end(world: World, story: Story, entity: UUID, before: dict[str, Any]) -> None:
    numbers = [number * 10 for number in range(1, story.detections + 1)] + list(story.recorded)
    newest = detection(entity, story.detections * 10)
    when = {str(detection(entity, number)): number for number in numbers}
    rows = await world.service.rows(
        "SELECT signal_id, is_current, sequence, description FROM known_signals WHERE entity_id = :entity",
        entity=entity,
    )
    assert {row["signal_id"] for row in rows if row["is_current"]} == {newest}
    corrected = {detection(entity, number) for number in story.corrected}
    assert {row["signal_id"] for row in rows if row["sequence"] == 2} == corrected
    assert {row["signal_id"] for row in rows if row["description"] == "Corrected."} == corrected

    assert await world.service.rows(
        "SELECT signal_id, status FROM assignments WHERE entity_id = :entity", entity=entity
    ) == (
        []
        if story.status == "new"
        else [
            {
                "signal_id": detection(entity, 10) if story.status == "closed" else newest,
                "status": story.status,
            }
        ]
    )
    after = await world.show(newest)
    events = await world.events_of(*(detection(entity, number) for number in numbers if number != 10))
    if story.status == "new":
        assert events == []
    elif story.status == "closed":
        assert kinds(events) == ["signal.reopened"]
        assert after["reopens"]["signal_id"] == str(detection(entity, 10))
    else:
        assert {name: after[name] for name in KEPT} == {name: before[name] for name in KEPT}
        # One event for each step, each from where the step before ended, always forward in time.
        steps = [(found["data"]["superseded_signal_id"], str(found["subject"])) for found in events]
        assert steps[0][0] == str(detection(entity, 10))
        assert steps[-1][1] == str(newest)
        assert all(earlier[1] == later[0] for earlier, later in itertools.pairwise(steps))
        assert all(when[old] < when[new] for old, new in steps)
        lines = await world.history(newest)
        assert [(line["previous_signal_id"], line["signal_id"]) for line in lines[-len(steps) :]] == steps


async def test_in_order_every_detection_takes_the_work_over_once(world: World) -> None:
    for together in (False, True):
        entity = uuid4()
        await world.hear_signals(signal_event(entity, 1))
        await world.bring_to(detection(entity, 1), "in_progress")
        events = [signal_event(entity, number, "redetected") for number in (2, 3, 4)]
        if together:
            await world.hear_signals(*events)
        else:
            for found in events:
                await world.hear_signals(found)
        for number in (2, 3, 4):
            assert kinds(await world.events_of(detection(entity, number))) == ["signal.assigned"]
        assert [line["kind"] for line in await world.history(detection(entity, 4))][2:] == ["carried_over"] * 3
        assert (await world.show(detection(entity, 4), NURSING))["allowed_next_statuses"] == ["resolved", "assigned"]
        assert (await world.show(detection(entity, 4), CLINICAL))["allowed_next_statuses"] == ["resolved", "assigned"]
