"""Many signals by one request."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.workflow.world import (
    ADMIN,
    CLINICAL,
    NURSING,
    OFFICE,
    VIEWER,
    World,
    detection,
    kinds,
    problem,
    signal_event,
)


def assigning(signal: UUID, **more: Any) -> dict[str, Any]:
    """An item that assigns to the nursing lead."""
    return {"signal_id": signal, "assign": {"assignee_id": NURSING.id, "role_type": "nursing_leadership"}} | more


def moving(signal: UUID, status: str, **more: Any) -> dict[str, Any]:
    """An item that moves the status."""
    return {"signal_id": signal, "move": {"status": status} | more}


async def test_each_item_is_answered_by_itself_and_those_that_fail_leave_no_trace(world: World) -> None:
    new, begun, foreign, unknown = [await world.new_signal() for _ in range(3)] + [uuid4()]
    await world.assign(begun)
    await world.assign(foreign, CLINICAL, OFFICE)
    items = [
        assigning(new, if_match='"0"'),
        moving(new, "in_progress"),
        moving(begun, "in_progress"),
        moving(begun, "resolved"),
        moving(foreign, "in_progress"),
        moving(foreign, "closed"),
        assigning(unknown),
        assigning(foreign),
        assigning(foreign, if_match='"7"'),
        assigning(foreign, if_match='"1"'),
    ]
    answer = await world.call(NURSING, "POST", "/assignments/bulk", {"items": items})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [result["signal_id"] for result in body["results"]] == [str(item["signal_id"]) for item in items]
    assert [(result["status"], result["problem"] and result["problem"]["code"]) for result in body["results"]] == [
        (200, None),
        (200, None),
        (200, None),
        (422, "resolution_notes_needed"),
        (403, "not_involved"),
        (409, "transition_not_allowed"),
        (404, "signal_not_known_yet"),
        (409, "already_assigned"),
        (412, "stale_version"),
        (200, None),
    ]
    assert body["results"][3]["problem"]["errors"][0]["pointer"] == "/move/resolution_notes"
    assert (body["succeeded"], body["failed"]) == (4, 6)
    assert body["results"][1]["assignment"] == await world.show(new, NURSING)
    assert kinds(await world.events_of(new)) == ["signal.assigned", "status.changed"]
    assert len(await world.history(foreign)) == 2


async def test_bulk_takes_a_key_and_the_usual_checks(world: World) -> None:
    signal = await world.new_signal()
    body = {"items": [assigning(signal)]}
    assert problem(await world.call(VIEWER, "POST", "/assignments/bulk", {}))[0] == 403
    answers = [await world.call(ADMIN, "POST", "/assignments/bulk", body, key="k") for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert len(await world.history(signal)) == 1


@pytest.mark.parametrize(
    "items",
    [
        [],
        [{"signal_id": uuid4()}],
        [assigning(uuid4()) | moving(uuid4(), "closed")],
        [assigning(uuid4(), if_match="3")],
        [moving(uuid4(), "done")],
        [moving(uuid4(), "closed")] * 501,
    ],
    ids=["none", "nothing to do", "two things", "bad tag", "bad status", "too many"],
)
async def test_malformed_bulk_requests_are_422(world: World, items: list[Any]) -> None:
    assert problem(await world.call(ADMIN, "POST", "/assignments/bulk", {"items": items})) == (422, "invalid")


async def test_four_hundred_good_and_a_hundred_bad(world: World) -> None:
    entities = [uuid4() for _ in range(500)]
    await world.hear_signals(*(signal_event(entity, 1) for entity in entities))
    signals = [detection(entity, 1) for entity in entities]
    items = [
        moving(signal, "closed") if number % 5 == 0 else assigning(signal) for number, signal in enumerate(signals)
    ]
    answer = await world.call(ADMIN, "POST", "/assignments/bulk", {"items": items})
    assert (answer.json()["succeeded"], answer.json()["failed"]) == (400, 100)
    assert {result["problem"]["code"] for result in answer.json()["results"] if result["problem"]} == {
        "transition_not_allowed"
    }
    events = await world.service.events()
    assert {found.subject for found in events} == {item["signal_id"] for item in items if "assign" in item}
    assert len(events) == 400
    assert await world.service.rows("SELECT count(*) AS n FROM assignment_transitions") == [{"n": 400}]


async def test_a_signal_that_comes_several_times_is_done_in_the_order_of_the_request(world: World) -> None:
    signal, other = await world.new_signal(), await world.new_signal()
    items = [
        assigning(signal),
        moving(signal, "in_progress"),
        moving(signal, "closed"),
        assigning(other),
        moving(signal, "resolved", resolution_notes="Done."),
        assigning(signal),
        moving(signal, "closed", notes="Seen."),
        moving(signal, "in_progress", resolution_notes="?"),
    ]
    answer = await world.call(ADMIN, "POST", "/assignments/bulk", {"items": items})
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [200, 200, 409, 200, 200, 409, 403, 422]
    assert [result["assignment"]["etag"] for result in results if result["assignment"]] == ['"1"', '"2"', '"1"', '"3"']
    assert [result["assignment"]["status"] for result in results if result["assignment"]] == [
        "assigned",
        "in_progress",
        "assigned",
        "resolved",
    ]
    assert [line["to_status"] for line in await world.history(signal)] == ["assigned", "in_progress", "resolved"]
    told = await world.events_of(signal)
    assert [(found["type"], found["sequence"]) for found in told] == [
        ("signal.assigned", 1),
        ("status.changed", 2),
        ("status.changed", 3),
    ]


@contextmanager
def counting() -> Iterator[list[str]]:
    """The statements that go to the database."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_the_number_of_statements_does_not_grow_with_the_number_of_items(world: World) -> None:
    seen = []
    for number in (6, 120):
        signals = [await world.new_signal() for _ in range(number)]
        for signal in signals[::2]:
            assert (await world.assign(signal, ADMIN)).status_code == 200
        items = [
            moving(signal, "in_progress") if place % 2 == 0 else assigning(signal)
            for place, signal in enumerate(signals)
        ]
        with counting() as statements:
            answer = await world.call(ADMIN, "POST", "/assignments/bulk", {"items": items})
        assert answer.json()["succeeded"] == number
        seen.append(len(statements))
    # Of many, one less is seen: their events are copied into the outbox, which is no statement of a cursor.
    assert seen[1] <= seen[0] < 20


async def test_requests_that_share_signals_wait_for_each_other_and_never_deadlock(real_world: World) -> None:
    entities = [uuid4() for _ in range(12)]
    await real_world.hear_signals(*(signal_event(entity, 1) for entity in entities))
    signals = [detection(entity, 1) for entity in entities]

    async def many(order: list[UUID]) -> list[int]:
        items = [assigning(signal) for signal in order] + [moving(signal, "in_progress") for signal in order]
        answer = await real_world.call(ADMIN, "POST", "/assignments/bulk", {"items": items})
        assert answer.status_code == 200, answer.text
        return [result["status"] for result in answer.json()["results"]]

    async def one(signal: UUID) -> list[int]:
        return [(await real_world.assign(signal, ADMIN)).status_code]

    async def newer(entity: UUID) -> list[int]:
        await real_world.hear_signals(signal_event(entity, 2, "redetected"))
        return []

    answers = await asyncio.gather(
        many(signals),
        newer(entities[0]),
        many(signals[::-1]),
        *(one(signal) for signal in signals[3:6]),
        many(signals[6:] + signals[:6]),
        newer(entities[11]),
        many(signals[::2] + signals[1::2]),
    )
    assert {status for one_answer in answers for status in one_answer} <= {200, 409}
    for entity in entities[1:-1]:
        assert kinds(await real_world.events_of(detection(entity, 1))) == ["signal.assigned", "status.changed"]
        assert len(await real_world.history(detection(entity, 1))) == 2
