"""Reminders and escalation, once each per due date, and waking what was snoozed until a date.

What has been done stands on the assignment's own row and is written with the event in one transaction, under the lock
of its signal: a restart or a second process neither repeats nor leaves out anything. A reminder before the due date
that was missed, because nothing ran or the signal was snoozed, is left out; the later ones are made up for.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository, repository_due, service_events, service_events_due
from services.workflow.models import Assignment, KnownUser
from services.workflow.repository_due import Found
from services.workflow.service_transitions import wake
from services.workflow.service_views import people_of
from services.workflow.settings import DueSettings
from shared import outbox
from shared.db import SessionMaker
from shared.events.workflow import AssignmentReason, Person
from shared.outbox import Event
from shared.supervision import look_again

_BATCH: Final = 100


async def keep_dates(app: FastAPI) -> None:
    """Wake, remind and escalate when it is time, until cancelled; a database that is away is waited for."""
    maker: SessionMaker = app.state.session_maker
    due: DueSettings = app.state.settings.due

    async def look() -> bool:
        async with maker() as session, session.begin():
            woken = await wake_due(session, datetime.now(UTC))
        async with maker() as session, session.begin():
            reminded = await remind_due(session, datetime.now(UTC), due)
        return woken + reminded > 0

    await look_again("due dates", look, due.check_seconds)


async def wake_due(session: AsyncSession, now: datetime) -> int:
    """Wake what was snoozed until a date that has come; how many were."""
    found = await repository_due.lock_to_wake(session, now, _BATCH)
    names = await repository.names_of(session, people_of(assignment for assignment, _ in found))
    events = []
    for assignment, signal in found:
        before = service_events.state(assignment, names)
        wake(assignment)
        assignment.version += 1
        assignment.updated_at = now
        after = service_events.state(assignment, names)
        events.append(service_events_due.woken(signal, before, after, AssignmentReason.DATE))
    await _settle(session, found, events)
    return len(found)


async def remind_due(session: AsyncSession, now: datetime, due: DueSettings) -> int:
    """Tell of what is due soon, is due, or has been for a while; of how many. A version does not count it."""
    ahead, after = timedelta(hours=due.remind_hours_before), timedelta(hours=due.escalate_hours_after)
    found = await repository_due.lock_to_remind(session, now, ahead, after, _BATCH)
    people = await repository.users(session, people_of(assignment for assignment, _ in found))
    names = {person.user_id: person.name for person in people.values()}
    admins: list[KnownUser] | None = None
    events = []
    for assignment, signal in found:
        state = service_events.state(assignment, names)
        if assignment.due_at is None:
            raise AssertionError("what is reminded of has a due date")
        if assignment.due_at > now:
            assignment.reminded_at = now
            events.append(service_events_due.reminded(signal, state, AssignmentReason.DUE_SOON))
            continue
        if assignment.due_reminded_at is None:
            assignment.due_reminded_at = now
            events.append(service_events_due.reminded(signal, state, AssignmentReason.DUE))
        if assignment.due_at + after <= now:
            assignment.escalated_at = now
            if admins is None:
                admins = list(await repository_due.active_admins(session))
            events.append(service_events_due.escalated(signal, state, _escalated_to(assignment, people, admins)))
    await _settle(session, found, events)
    return len(found)


def _escalated_to(assignment: Assignment, people: Mapping[UUID, KnownUser], admins: list[KnownUser]) -> list[Person]:
    """Who assigned it, where that is somebody else who is still here; otherwise the administrators."""
    assigner = people.get(assignment.assigner_id) if assignment.assigner_id else None
    if assigner is not None and assigner.is_active and assigner.user_id != assignment.assignee_id:
        return [Person(assigner.user_id, assigner.name)]
    return [Person(admin.user_id, admin.name) for admin in admins if admin.user_id != assignment.assignee_id]


async def _settle(session: AsyncSession, found: list[Found], events: list[Event]) -> None:
    await repository.store(session, *(assignment for assignment, _ in found))
    await outbox.publish(session, *events)
