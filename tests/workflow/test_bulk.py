"""Many signals by one request."""

from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import pytest

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
    started = perf_counter()
    answer = await world.call(ADMIN, "POST", "/assignments/bulk", {"items": items})
    print(f"bulk of 500: {perf_counter() - started:.2f} s")  # noqa: T201
    assert (answer.json()["succeeded"], answer.json()["failed"]) == (400, 100)
    assert len(await world.service.events()) == 400
    assert await world.service.rows("SELECT count(*) AS n FROM assignment_transitions") == [{"n": 400}]
