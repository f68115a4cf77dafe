"""Putting signals aside, and what brings them back."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from services.workflow.service_due import wake_due
from tests.workflow.world import (
    ADMIN,
    CLINICAL,
    NURSING,
    OFFICE,
    VIEWER,
    Somebody,
    World,
    detection,
    kinds,
    problem,
    signal_event,
)

SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)


async def snooze(world: World, signal: UUID, by: Somebody = OFFICE, *, key: str | None = None, **body: Any) -> Any:
    return await world.call(by, "POST", f"/signals/{signal}/snooze", body, key=key)


async def bring_back(world: World, signal: UUID, by: Somebody = OFFICE, **more: Any) -> httpx.Response:
    return await world.call(by, "DELETE", f"/signals/{signal}/snooze", **more)


async def wake(world: World, now: datetime) -> int:
    async with world.service.session_maker() as session, session.begin():
        return await wake_due(session, now)


async def snoozed_entity(world: World, severity: int = 60, **body: Any) -> UUID:
    """An entity whose January signal is assigned and put aside."""
    entity = uuid4()
    await world.hear_signals(signal_event(entity, 1, simplified_severity=severity))
    await world.assign(detection(entity, 1))
    assert (await snooze(world, detection(entity, 1), **(body or {"until_worse": True}))).status_code == 200
    return entity


async def test_snoozing_keeps_all_but_tells(world: World) -> None:
    signal = await world.new_signal()
    assigned = (await world.assign(signal)).json()
    answer = await snooze(world, signal, until=SOON, until_worse=True, notes="Wait for September.")
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    shown = answer.json()
    assert shown["snooze"]["by"] == {"id": str(OFFICE.id), "name": "Administration Lead"}
    assert datetime.fromisoformat(shown["snooze"]["until"]) == SOON
    assert shown["snooze"]["until_worse"] is True
    changing = {"snooze", "snoozed_until", "etag", "updated_at", "allowed_next_statuses"}
    assert {name for name in shown if shown[name] != assigned[name]} <= changing
    event = (await world.events_of(signal))[-1]
    assert (event["type"], event["feed"], event["actor"]) == ("signal.snoozed", "assignment", OFFICE.id)
    assert (event["data"]["reason"], event["data"]["notes"]) == ("snoozed", "Wait for September.")
    assert set(event["data"]["changed"]) == {"snoozed_until", "snoozed_until_worse"}
    expected = f"put ‘breachRate at Northfield General’ aside until {SOON:%Y-%m-%d %H:%M} UTC or until it worsens."
    assert event["summary"] == f"Administration Lead {expected}"
    assert len(await world.history(signal)) == 1, "the status did not move"


async def test_an_untouched_signal_can_be_put_aside(world: World) -> None:
    signal = await world.new_signal()
    answer = await snooze(world, signal, until_worse=True)
    assert (answer.json()["status"], answer.json()["etag"]) == ("new", '"1"')
    assert (await world.assign(signal)).json()["snooze"] is None, "whoever takes it up has it back"


@pytest.mark.parametrize("status", ["resolved", "closed"])
async def test_what_is_done_is_not_put_aside(world: World, status: str) -> None:
    signal = await world.new_signal()
    await world.bring_to(signal, status)
    assert problem(await snooze(world, signal, until_worse=True)) == (409, "not_snoozable")


async def test_a_move_of_the_status_brings_it_back(world: World) -> None:
    signal = await world.new_signal()
    await world.assign(signal)
    await snooze(world, signal, until=SOON)
    moved = await world.move(signal, NURSING, "in_progress")
    assert (moved.json()["snooze"], moved.json()["snoozed_until"]) == (None, None)
    event = (await world.events_of(signal))[-1]
    assert event["type"] == "status.changed"
    assert "snoozed_until" in event["data"]["changed"]


async def test_a_user_brings_it_back(world: World) -> None:
    signal = await world.new_signal()
    assert problem(await bring_back(world, signal)) == (409, "not_snoozed")
    await snooze(world, signal, until=SOON)
    assert problem(await bring_back(world, signal, if_match='"7"')) == (412, "stale_version")
    for _ in range(2):
        answer = await bring_back(world, signal, if_match='"1"', key="k")
        assert (answer.status_code, answer.json()["snooze"], answer.headers["etag"]) == (200, None, '"2"')
    assert problem(await bring_back(world, signal)) == (409, "not_snoozed")
    event = (await world.events_of(signal))[-1]
    assert (event["type"], event["data"]["reason"], event["actor"]) == ("signal.woken", "user", OFFICE.id)


async def test_it_is_back_when_its_date_has_come(world: World) -> None:
    signal, worse_only = await world.new_signal(), await world.new_signal()
    await world.assign(signal)
    await snooze(world, signal, until=SOON, until_worse=True)
    await snooze(world, worse_only, until_worse=True)
    assert await wake(world, SOON - timedelta(seconds=1)) == 0
    assert await wake(world, SOON) == 1
    assert await wake(world, SOON) == 0
    shown = await world.show(signal)
    assert (shown["snooze"], shown["status"], shown["etag"]) == (None, "assigned", '"3"')
    event = (await world.events_of(signal))[-1]
    assert (event["type"], event["data"]["reason"], event["actor"]) == ("signal.woken", "date", None)
    assert (await world.show(worse_only))["snooze"]["until_worse"] is True


async def test_more_than_one_batch_is_woken(world: World) -> None:
    entities = [uuid4() for _ in range(130)]
    await world.hear_signals(*(signal_event(entity, 1) for entity in entities))
    items = [
        {"signal_id": detection(entity, 1), "assign": {"assignee_id": NURSING.id, "role_type": NURSING.role}}
        for entity in entities
    ]
    await world.call(CLINICAL, "POST", "/assignments/bulk", {"items": items})
    async with world.service.session_maker() as session, session.begin():
        await session.execute(text("UPDATE assignments SET snoozed_at = now(), snoozed_until = now()"))
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert [await wake(world, later) for _ in range(3)] == [100, 30, 0]


@pytest.mark.parametrize(
    ("newer", "feed_type", "wakes"),
    [
        (64, None, False),
        (65, None, True),
        (65, "regression", True),
        (61, "regression", True),
        (20, "improvement", False),
        (99, None, True),
    ],
)
async def test_a_newer_detection_that_is_worse_brings_it_back(
    world: World, newer: int, feed_type: str | None, wakes: bool
) -> None:
    entity = await snoozed_entity(world, 60)
    await world.hear_signals(signal_event(entity, 2, "redetected", feed_type=feed_type, simplified_severity=newer))
    second = detection(entity, 2)
    told = await world.events_of(second)
    assert kinds(told) == ["signal.assigned", "signal.woken"][: 2 if wakes else 1]
    assert ((await world.show(second))["snooze"] is None) is wakes
    if wakes:
        assert (told[1]["data"]["reason"], told[1]["actor"]) == ("worsened", None)
        assert told[0]["data"]["assignment"]["snoozed_until_worse"] is True


async def test_slow_worsening_counts_from_when_it_was_put_aside(world: World) -> None:
    entity = await snoozed_entity(world, 60)
    await world.hear_signals(signal_event(entity, 2, "redetected", simplified_severity=63))
    assert (await world.show(detection(entity, 2)))["snooze"]
    await world.hear_signals(signal_event(entity, 3, "redetected", simplified_severity=66))
    assert (await world.show(detection(entity, 3)))["snooze"] is None


async def test_suspect_data_brings_nothing_back(world: World) -> None:
    entity = await snoozed_entity(world, 60)
    worse: dict[str, Any] = {"simplified_severity": 99, "simplified_signal_type": "suspect_data"}
    await world.hear_signals(signal_event(entity, 2, "redetected", **worse))
    assert (await world.show(detection(entity, 2)))["snooze"]


async def test_only_a_date_is_not_moved_by_worse_detections(world: World) -> None:
    entity = await snoozed_entity(world, 60, until=SOON)
    newer = signal_event(entity, 2, "redetected", feed_type="regression", simplified_severity=99)
    await world.hear_signals(newer)
    await world.hear_signals(newer)
    shown = await world.show(detection(entity, 2))
    assert datetime.fromisoformat(shown["snoozed_until"]) == SOON
    assert kinds(await world.events_of(detection(entity, 2))) == ["signal.assigned"]


async def test_who_may_snooze(world: World) -> None:
    signal = await world.new_signal()
    for who in (ADMIN, CLINICAL, NURSING, OFFICE):
        assert (await snooze(world, signal, who, until_worse=True)).status_code == 200
        assert (await bring_back(world, signal, who)).status_code == 200
    assert problem(await snooze(world, signal, VIEWER, until_worse=True)) == (403, "forbidden")
    assert problem(await bring_back(world, signal, VIEWER)) == (403, "forbidden")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid"),
        ({"until_worse": False}, "invalid"),
        ({"until": "tomorrow"}, "invalid"),
        ({"until": "2027-01-01"}, "invalid"),
        ({"until": "2027-01-01T00:00:00"}, "invalid"),
        ({"until_worse": "yes"}, "invalid"),
        ({"until_worse": True, "for": 3}, "invalid"),
        ({"until": datetime.now(UTC) - timedelta(minutes=1)}, "bad_date"),
        ({"until": datetime.now(UTC) + timedelta(days=367)}, "bad_date"),
        ({"until": "9999-12-31T23:59:59Z"}, "bad_date"),
    ],
)
async def test_a_bad_end_is_422(world: World, body: dict[str, Any], code: str) -> None:
    signal = await world.new_signal()
    assert problem(await snooze(world, signal, **body)) == (422, code)
    assert (await world.show(signal))["snooze"] is None


async def test_an_offset_is_a_way_to_say_a_moment(world: World) -> None:
    signal = await world.new_signal()
    local = SOON.astimezone().isoformat()
    answer = await snooze(world, signal, until=local)
    assert datetime.fromisoformat(answer.json()["snoozed_until"]) == SOON


async def test_unknown_and_superseded_signals(world: World) -> None:
    assert problem(await snooze(world, uuid4(), until_worse=True)) == (404, "signal_not_known_yet")
    entity = uuid4()
    await world.hear_signals(signal_event(entity, 1), signal_event(entity, 2, "redetected"))
    assert problem(await snooze(world, detection(entity, 1), until_worse=True)) == (409, "superseded")


async def test_the_list_tells_what_is_put_aside(world: World) -> None:
    aside, present = await world.new_signal(), await world.new_signal()
    for signal in (aside, present):
        await world.assign(signal)
    await snooze(world, aside, until=SOON)
    for query, expected in (("true", [aside]), ("false", [present])):
        answer = await world.call(VIEWER, "GET", f"/assignments?snoozed={query}")
        assert [UUID(found["signal_id"]) for found in answer.json()["assignments"]] == expected
