"""Due dates, reminders and escalation."""

import asyncio
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Self
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from services.workflow import endpoints_assignments, service_due, service_views
from services.workflow.settings import DueSettings
from shared.db import SessionMaker
from tests.support.eventually import eventually
from tests.workflow.world import (
    ADMIN,
    CLINICAL,
    NURSING,
    OFFICE,
    VIEWER,
    World,
    detection,
    kinds,
    signal_event,
    user_event,
)

DUE = DueSettings(days_by_severity={80: 7, 40: 14, 0: 30}, remind_hours_before=24, escalate_hours_after=48)


async def remind(world: World, now: datetime) -> int:
    async with world.service.session_maker() as session, session.begin():
        return await service_due.remind_due(session, now, DUE)


async def due_signal(world: World, **changes: Any) -> tuple[UUID, datetime]:
    """An assigned signal, and when it is due."""
    signal = await world.new_signal(**changes)
    shown = (await world.assign(signal)).json()
    return signal, datetime.fromisoformat(shown["due_at"])


async def reminders(world: World, signal: UUID) -> list[tuple[str, str]]:
    """The reminders and escalations of a signal, with their reasons."""
    return [
        (event["type"], event["data"]["reason"])
        for event in await world.events_of(signal)
        if event["type"].startswith("assignment.")
    ]


@pytest.mark.parametrize(("severity", "days"), [(0, 30), (39, 30), (40, 14), (79, 14), (80, 7), (100, 7)])
def test_bands_begin_at_their_severity(severity: int, days: int) -> None:
    now = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    assert DUE.due_at(now, severity) == now + timedelta(days=days)


def test_bands_may_ask_for_no_due_date() -> None:
    some = DueSettings(days_by_severity={60: 3, 40: None})
    now = datetime.now(UTC)
    assert [some.due_at(now, severity) for severity in (39, 40, 60)] == [None, None, now + timedelta(days=3)]


@pytest.mark.parametrize("bands", [{}, {101: 1}, {-1: 1}, {0: 0}, {0: -1}, {0: float("nan")}, {0: 1e9}])
def test_bad_bands_stop_the_service(bands: dict[int, float]) -> None:
    with pytest.raises(ValidationError):
        DueSettings(days_by_severity=dict(bands))


async def test_it_is_set_when_assigned_and_only_then(world: World) -> None:
    entity = uuid4()
    await world.hear_signals(signal_event(entity, 1, simplified_severity=88))
    first = detection(entity, 1)
    assert (await world.show(first))["due_at"] is None
    shown = (await world.assign(first)).json()
    due = shown["due_at"]
    elapsed = datetime.fromisoformat(due) - datetime.fromisoformat(shown["assigned_at"])
    assert elapsed == timedelta(days=7), "as the settings say by default"
    assert (await world.assign(first, to=OFFICE, if_match="*")).json()["due_at"] == due
    await world.hear_signals(signal_event(entity, 2, "redetected", simplified_severity=10))
    second = detection(entity, 2)
    assert (await world.show(second))["due_at"] == due
    await world.move(second, OFFICE, "in_progress")
    assert (await world.move(second, OFFICE, "assigned")).json()["due_at"] == due
    assert (await world.move(second, OFFICE, "new")).json()["due_at"] is None


async def test_a_reminder_before_one_at_and_an_escalation_after_once_each(world: World) -> None:
    signal, due = await due_signal(world)
    etag = (await world.show(signal))["etag"]
    seen = []
    for hours in (-25, -24, -1, 0, 1, 47, 48, 49, 500):
        await remind(world, due + timedelta(hours=hours))
        seen.append(len(await reminders(world, signal)))
    assert seen == [0, 1, 1, 2, 2, 2, 3, 3, 3]
    assert await reminders(world, signal) == [
        ("assignment.reminded", "due_soon"),
        ("assignment.reminded", "due"),
        ("assignment.escalated", "overdue"),
    ]
    assert (await world.show(signal))["etag"] == etag, "nothing that a client decides on has changed"
    events = await world.events_of(signal)
    assert [event["sequence"] for event in events] == [1, 2, 3, 4]
    assert {(event["feed"], event["actor"]) for event in events[1:]} == {("assignment", None)}
    assert events[3]["data"]["escalated_to"] == [{"user_id": str(CLINICAL.id), "name": "Clinical Lead"}]
    assert "Nursing Lead has it; told to Clinical Lead." in events[3]["summary"]


async def test_what_was_missed_is_made_up_for_but_not_what_has_no_use_any_more(world: World) -> None:
    signal, due = await due_signal(world)
    await remind(world, due + timedelta(days=10))
    await remind(world, due + timedelta(days=10))
    assert [reason for _, reason in await reminders(world, signal)] == ["due", "overdue"]


async def test_a_new_due_date_is_reminded_of_again(world: World) -> None:
    signal, due = await due_signal(world)
    await remind(world, due + timedelta(days=10))
    await world.move(signal, NURSING, "new")
    again = (await world.assign(signal)).json()
    await remind(world, datetime.fromisoformat(again["due_at"]))
    assert [reason for _, reason in await reminders(world, signal)] == ["due", "overdue", "due"]


@pytest.mark.parametrize("status", ["new", "resolved", "closed"])
async def test_nothing_for_what_nobody_works_on(world: World, status: str) -> None:
    signal, due = await due_signal(world)
    if status == "new":
        await world.move(signal, NURSING, "new")
    else:
        for step in ("in_progress", "resolved", "closed"):
            await world.move(signal, CLINICAL if step == "closed" else NURSING, step)
            if step == status:
                break
    assert await remind(world, due + timedelta(days=100)) == 0


async def test_nothing_while_it_is_put_aside(world: World) -> None:
    signal, due = await due_signal(world)
    await world.call(CLINICAL, "POST", f"/signals/{signal}/snooze", {"until": due + timedelta(days=1)})
    assert await remind(world, due + timedelta(hours=1)) == 0
    after = due + timedelta(days=3)
    async with world.service.session_maker() as session, session.begin():
        await service_due.wake_due(session, after)
    await remind(world, after)
    assert [reason for _, reason in await reminders(world, signal)] == ["due", "overdue"]


async def test_an_escalation_goes_to_admins_where_nobody_else_is_there(world: World) -> None:
    by_oneself = await world.new_signal()
    await world.assign(by_oneself, NURSING, NURSING)
    by_admin = await world.new_signal()
    await world.assign(by_admin, ADMIN, ADMIN)
    by_former = await world.new_signal()
    await world.assign(by_former, CLINICAL, NURSING)
    await world.hear_users(user_event(CLINICAL, "deactivated", sequence=2, is_active=False))
    await remind(world, datetime.now(UTC) + timedelta(days=100))
    for signal, names in (
        (by_oneself, ["Admin", "Other Admin"]),
        (by_admin, ["Other Admin"]),
        (by_former, ["Admin", "Other Admin"]),
    ):
        event = (await world.events_of(signal))[-1]
        assert [person["name"] for person in event["data"]["escalated_to"]] == names


async def test_reminders_follow_to_a_newer_detection(world: World) -> None:
    entity = uuid4()
    await world.hear_signals(signal_event(entity, 1))
    due = datetime.fromisoformat((await world.assign(detection(entity, 1))).json()["due_at"])
    await remind(world, due)
    await world.hear_signals(signal_event(entity, 2, "redetected"))
    await remind(world, due + timedelta(hours=48))
    assert kinds(await world.events_of(detection(entity, 2))) == ["signal.assigned", "assignment.escalated"]


async def test_the_overdue_filter_and_what_it_is_not(world: World) -> None:
    late, aside, done, present, untimed = [await world.new_signal() for _ in range(5)]
    for signal in (late, aside, done, present, untimed):
        await world.assign(signal)
    await world.call(CLINICAL, "POST", f"/signals/{aside}/snooze", {"until_worse": True})
    await world.move(done, NURSING, "in_progress")
    await world.move(done, NURSING, "resolved")
    async with world.service.session_maker() as session, session.begin():
        past = "UPDATE assignments SET due_at = now() - interval '1 minute' WHERE signal_id = ANY(:ids)"
        await session.execute(text(past), {"ids": [late, aside, done]})
        await session.execute(text("UPDATE assignments SET due_at = NULL WHERE signal_id = :id"), {"id": untimed})
    for query, expected in (("true", {late}), ("false", {aside, done, present, untimed})):
        found = (await world.call(VIEWER, "GET", f"/assignments?overdue={query}")).json()["assignments"]
        assert {UUID(one["signal_id"]) for one in found} == expected
        assert {one["is_overdue"] for one in found} == {query == "true"}


async def test_one_clock_says_everywhere_what_is_overdue(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Behind(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) - timedelta(hours=2)

    signal = await world.new_signal()
    await world.assign(signal)
    async with world.service.session_maker() as session, session.begin():
        await session.execute(text("UPDATE assignments SET due_at = now() - interval '1 minute'"))
    for module in (service_views, endpoints_assignments):
        monkeypatch.setattr(module, "datetime", Behind)
    (listed,) = (await world.call(VIEWER, "GET", "/assignments?overdue=true")).json()["assignments"]
    shown = (await world.call(VIEWER, "GET", f"/signals/{signal}/assignment")).json()
    summary = (await world.call(VIEWER, "GET", "/assignments/summary")).json()
    assert (listed["is_overdue"], shown["is_overdue"], summary["total"]["overdue"]) == (True, True, 1)


async def test_several_processes_remind_once(real_world: World, committing: SessionMaker) -> None:
    entities = [uuid4() for _ in range(60)]
    await real_world.hear_signals(*(signal_event(entity, 1) for entity in entities))
    items = [
        {"signal_id": detection(entity, 1), "assign": {"assignee_id": NURSING.id, "role_type": NURSING.role}}
        for entity in entities
    ]
    await real_world.call(CLINICAL, "POST", "/assignments/bulk", {"items": items})
    later = datetime.now(UTC) + timedelta(days=100)
    totals = await asyncio.gather(*(remind(real_world, later) for _ in range(4)))
    while await remind(real_world, later):
        pass
    assert sum(totals) <= len(entities)
    told = [await reminders(real_world, detection(entity, 1)) for entity in entities[:5] + entities[-5:]]
    assert all([reason for _, reason in one] == ["due", "overdue"] for one in told)
    escalated = await real_world.service.events("assignment.escalated")
    assert len(escalated) == len(entities)


async def test_a_signal_that_somebody_is_at_is_left_for_later(real_world: World, committing: SessionMaker) -> None:
    signal = await real_world.new_signal()
    await real_world.assign(signal)
    later = datetime.now(UTC) + timedelta(days=100)
    while await remind(real_world, later):
        pass
    other = await real_world.new_signal()
    await real_world.assign(other)
    async with committing() as holder, holder.begin():
        await holder.execute(text("SELECT 1 FROM known_signals WHERE signal_id = :id FOR UPDATE"), {"id": other})
        assert await remind(real_world, later) == 0
    assert await remind(real_world, later) == 1


async def test_the_worker_goes_on_by_itself(real_world: World) -> None:
    signal = await real_world.new_signal()
    await real_world.assign(signal)
    await real_world.call(CLINICAL, "POST", f"/signals/{signal}/snooze", {"until_worse": True})
    settings = real_world.service.app.state.settings
    quick = settings.due.model_copy(update={"check_seconds": 0.05})
    real_world.service.app.state.settings = settings.model_copy(update={"due": quick})
    worker = asyncio.create_task(service_due.keep_dates(real_world.service.app))
    try:
        async with real_world.service.session_maker() as session, session.begin():
            past = (
                "UPDATE assignments SET due_at = now() - interval '9 days', snoozed_until = now() WHERE signal_id = :id"
            )
            await session.execute(text(past), {"id": signal})

        async def told() -> list[str]:
            return kinds(await real_world.events_of(signal))

        await eventually(told, lambda seen: seen[-1] == "assignment.escalated")
        assert (await told())[2:] == ["signal.woken", "assignment.reminded", "assignment.escalated"]
        assert not worker.done()
    finally:
        worker.cancel()
