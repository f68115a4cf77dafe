"""Every transition, allowed or not, on every path, for every role and relation to the assignment."""

from dataclasses import dataclass
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from tests.workflow.world import (
    ADMIN,
    CLINICAL,
    NURSING,
    OFFICE,
    OTHER_ADMIN,
    VIEWER,
    Somebody,
    World,
    detection,
    problem,
    signal_event,
)

STATUSES = ("new", "assigned", "in_progress", "resolved", "closed")
# The specification's table, written down a second time.
TABLE = {
    ("new", "assigned"),
    ("assigned", "in_progress"),
    ("assigned", "new"),
    ("in_progress", "resolved"),
    ("in_progress", "assigned"),
    ("resolved", "closed"),
    ("resolved", "in_progress"),
}
# Which timestamps are set after a move; a status that was reached keeps its own.
TIMESTAMPS = {
    "new": (),
    "assigned": ("assigned_at",),
    "in_progress": ("assigned_at", "started_at"),
    "resolved": ("assigned_at", "started_at", "resolved_at"),
    "closed": ("assigned_at", "started_at", "resolved_at", "closed_at"),
}
ALL_TIMESTAMPS = TIMESTAMPS["closed"]

CALLERS = (CLINICAL, NURSING, OFFICE, ADMIN, VIEWER)
# Who is what besides the caller, who takes one of the parts, two of them, or none.
RELATIONS = ("assignee", "assigner", "resolver", "assignee and resolver", "assigner and resolver", "nobody")


@dataclass(frozen=True)
class Case:
    """A signal in a status, and a caller in a relation to it."""

    signal: UUID
    status: str
    caller: Somebody
    relation: str

    @property
    def involved(self) -> bool:
        return self.status != "new" and ("assignee" in self.relation or "assigner" in self.relation)

    @property
    def resolved_it(self) -> bool:
        return "resolver" in self.relation and self.status in ("resolved", "closed")


async def cases(world: World, status: str) -> list[Case]:
    """One signal in this status for every caller and relation, stored without the API."""
    entities = {(caller, relation): uuid4() for caller in CALLERS[:-1] for relation in RELATIONS}
    entities[VIEWER, "nobody"] = uuid4()
    await world.hear_signals(*(signal_event(entity, 1) for entity in entities.values()))
    reached = TIMESTAMPS[status]
    rows = []
    for (caller, relation), entity in entities.items():
        rows.append(
            {
                "id": uuid4(),
                "signal_id": detection(entity, 1),
                "entity_id": entity,
                "status": status,
                "assignee_id": None if status == "new" else (caller if "assignee" in relation else OTHER_ADMIN).id,
                "assigner_id": None if status == "new" else (caller if "assigner" in relation else OTHER_ADMIN).id,
                "resolved_by": (caller if "resolver" in relation else OTHER_ADMIN).id
                if status in ("resolved", "closed")
                else None,
                **{
                    name: f"2026-02-0{number}T00:00:00+00:00" if name in reached else None
                    for number, name in enumerate(ALL_TIMESTAMPS, 1)
                },
            }
        )
    async with world.service.session_maker() as session, session.begin():
        for row in rows:
            await session.execute(
                text(
                    "INSERT INTO assignments (id, signal_id, entity_id, status, role_type, assignee_id, assigner_id,"
                    " resolved_by, assigned_at, started_at, resolved_at, closed_at)"
                    " VALUES (:id, :signal_id, :entity_id, CAST(:status AS assignment_status), 'nursing_leadership',"
                    " :assignee_id, :assigner_id, :resolved_by, CAST(CAST(:assigned_at AS text) AS timestamptz),"
                    " CAST(CAST(:started_at AS text) AS timestamptz),"
                    " CAST(CAST(:resolved_at AS text) AS timestamptz),"
                    " CAST(CAST(:closed_at AS text) AS timestamptz))"
                ),
                row,
            )
    return [Case(detection(entity, 1), status, caller, relation) for (caller, relation), entity in entities.items()]


def expected_move(case: Case, to: str) -> tuple[int, str | None]:
    """Status and code of PATCH, from the permission table and the order of the checks."""
    if case.caller is VIEWER:
        return 403, "forbidden"
    if case.status == "new" and to == "assigned":
        return 409, "assignee_needed"
    if (case.status, to) not in TABLE:
        return 409, "transition_not_allowed"
    if to == "closed":
        return (403, "own_resolution") if case.resolved_it else (200, None)
    if case.caller is not ADMIN and not case.involved:
        return 403, "not_involved"
    return 200, None


async def check(world: World, case: Case, answer: httpx.Response, expected: tuple[int, str | None], to: str) -> None:
    """The answer is the expected one, and its effect is whole or nothing at all."""
    before = {"status": case.status, "version": 1, "lines": 0, "events": 0}
    after = {"status": to, "version": 2, "lines": 1, "events": 1}
    if expected[0] == 200:
        assert answer.status_code == 200, (case, to, answer.text)
    else:
        assert problem(answer) == expected, (case, to)
    (row,) = await world.service.rows(
        "SELECT status, version, assignee_id, role_type, assigned_at, started_at, resolved_at, closed_at,"
        " (SELECT count(*) FROM assignment_transitions AS t WHERE t.signal_id = a.signal_id) AS lines,"
        " coalesce((SELECT last FROM event_sequences WHERE subject = a.signal_id), 0) AS events"
        " FROM assignments AS a WHERE signal_id = :signal",
        signal=case.signal,
    )
    wanted = after if expected[0] == 200 else before
    assert {name: row[name] for name in wanted} == wanted, (case, to)
    assert tuple(name for name in ALL_TIMESTAMPS if row[name]) == TIMESTAMPS[row["status"]], (case, to)
    assert (row["assignee_id"] is None) == (row["status"] == "new"), (case, to)
    if expected[0] == 200 and to in ALL_TIMESTAMPS and STATUSES.index(to) < STATUSES.index(case.status):
        assert row[TIMESTAMPS[to][-1]].month == 2, "going back keeps the earlier timestamps"


@pytest.mark.parametrize("to", STATUSES)
@pytest.mark.parametrize("status", STATUSES)
async def test_every_move_for_every_role_and_relation(world: World, status: str, to: str) -> None:
    for case in await cases(world, status):
        await check(world, case, await world.move(case.signal, case.caller, to), expected_move(case, to), to)


async def test_the_same_moves_in_bulk(world: World) -> None:
    moves = [(case, to) for status, to in product(STATUSES, STATUSES) for case in await cases(world, status)]
    for caller in CALLERS:
        own = [(case, to) for case, to in moves if case.caller is caller]
        items = [
            {
                "signal_id": case.signal,
                "move": {"status": to} | ({"resolution_notes": "Done."} if to == "resolved" else {}),
            }
            for case, to in own
        ]
        answer = await world.call(caller, "POST", "/assignments/bulk", {"items": items})
        if caller is VIEWER:
            assert problem(answer) == (403, "forbidden")
            continue
        seen = [(line["status"], (line["problem"] or {}).get("code")) for line in answer.json()["results"]]
        assert seen == [expected_move(case, to) for case, to in own], caller


@pytest.mark.parametrize("status", STATUSES)
async def test_what_is_offered_is_what_would_be_done(world: World, status: str) -> None:
    for case in await cases(world, status):
        seen = await world.show(case.signal, case.caller)
        wanted = {to for to in STATUSES if expected_move(case, to)[0] == 200}
        if status == "new" and case.caller is not VIEWER:
            wanted = {"assigned"}  # by assigning it
        assert set(seen["allowed_next_statuses"]) == wanted, case


@pytest.mark.parametrize("status", STATUSES)
async def test_unassigning_for_every_role_and_relation(world: World, status: str) -> None:
    for case in await cases(world, status):
        expected: tuple[int, str | None] = (200, None)
        if case.caller is VIEWER:
            expected = 403, "forbidden"
        elif status != "assigned":
            expected = 409, "transition_not_allowed"
        answer = await world.call(case.caller, "DELETE", f"/signals/{case.signal}/assignment")
        await check(world, case, answer, expected, "new")


@pytest.mark.parametrize("if_match", [False, True])
@pytest.mark.parametrize("status", STATUSES)
async def test_assigning_for_every_role_and_relation(world: World, status: str, if_match: bool) -> None:
    for case in await cases(world, status):
        expected: tuple[int, str | None] = (200, None)
        if case.caller is VIEWER:
            expected = 403, "forbidden"
        elif status in ("resolved", "closed"):
            expected = 409, "transition_not_allowed"
        elif status != "new" and not if_match:
            expected = 409, "already_assigned"
        answer = await world.assign(case.signal, case.caller, NURSING, if_match='"1"' if if_match else None)
        await check(world, case, answer, expected, "assigned" if status == "new" else status)


async def test_who_resolved_it_is_kept_on_the_way_back_and_replaced_by_the_next(world: World) -> None:
    signal = await world.new_signal()
    await world.bring_to(signal, "resolved")
    back = (await world.move(signal, NURSING, "in_progress")).json()
    assert (back["resolved_by"]["name"], back["resolved_at"]) == ("Nursing Lead", None)
    await world.move(signal, CLINICAL, "resolved")
    assert problem(await world.move(signal, CLINICAL, "closed")) == (403, "own_resolution")
    closed: dict[str, Any] = (await world.move(signal, NURSING, "closed")).json()
    assert (closed["status"], closed["resolved_by"]["name"]) == ("closed", "Clinical Lead")
    assert closed["allowed_next_statuses"] == []


async def test_the_resolver_is_not_offered_to_close(world: World) -> None:
    signal = await world.new_signal()
    await world.bring_to(signal, "resolved")
    offered = {user.name: (await world.show(signal, user))["allowed_next_statuses"] for user in CALLERS}
    assert offered == {
        "Clinical Lead": ["closed", "in_progress"],
        "Nursing Lead": ["in_progress"],
        "Administration Lead": ["closed"],
        "Admin": ["closed", "in_progress"],
        "Viewer": [],
    }
