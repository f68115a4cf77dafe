"""Putting a signal aside until a date, or until it worsens, and bringing it back."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import service_desk, service_events, service_events_due
from services.workflow.models import Assignment, KnownSignal
from services.workflow.schemas import AssignmentView
from services.workflow.schemas_snooze import SnoozeRequest
from services.workflow.service_desk import Desk
from services.workflow.service_transitions import wake
from services.workflow.service_views import untouched
from shared.auth import User
from shared.errors import ConflictError, FieldProblem, InvalidError
from shared.events.vocabulary import AssignmentStatus, SignalType
from shared.events.workflow import AssignmentReason
from shared.preconditions import Precondition

WORSE_BY: Final = 5
"""So much more severity is worse, as it makes a regression of a newer detection."""

_LONGEST: Final = timedelta(days=366)
_SNOOZABLE: Final = (AssignmentStatus.NEW, AssignmentStatus.ASSIGNED, AssignmentStatus.IN_PROGRESS)


async def snooze(
    session: AsyncSession, user: User, signal_id: UUID, request: SnoozeRequest, if_match: Precondition | None
) -> AssignmentView:
    """Put a signal aside, or change until when it is.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
        PreconditionFailedError: the version is another one.
        ConflictError: ``superseded``, or ``not_snoozable`` for one that is resolved or closed.
        InvalidError: the date is not ahead, or too far ahead.
    """
    desk = await service_desk.lock(session, user, [signal_id])
    _snooze(desk, signal_id, request, if_match)
    await service_desk.settle(session, desk)
    return desk.view(signal_id)


async def bring_back(
    session: AsyncSession, user: User, signal_id: UUID, if_match: Precondition | None
) -> AssignmentView:
    """End the snooze of a signal.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
        PreconditionFailedError: the version is another one.
        ConflictError: ``superseded``, or ``not_snoozed``.
    """
    desk = await service_desk.lock(session, user, [signal_id])
    work = desk.work(signal_id, if_match)
    if work.assignment is None or not is_snoozed(work.assignment):
        raise ConflictError("The signal is not put aside.", "not_snoozed")
    before = service_events.state(work.assignment, desk.names)
    wake(work.assignment)
    work.assignment.version += 1
    work.assignment.updated_at = desk.now
    after = service_events.state(work.assignment, desk.names)
    event = service_events_due.woken(work.signal, before, after, AssignmentReason.USER, user)
    desk.take(work, work.assignment, None, event)
    await service_desk.settle(session, desk)
    return desk.view(signal_id)


def is_snoozed(assignment: Assignment) -> bool:
    """Whether it is put aside, and has not been told to be back."""
    return assignment.snoozed_at is not None


def is_worse(assignment: Assignment, newer: KnownSignal, *, is_regression: bool) -> bool:
    """Whether a newer detection wakes what is snoozed until it worsens.

    That is one that regressed from the detection before it, or whose severity has risen by 5 since the signal was put
    aside, however slowly. Suspect data says nothing about either.
    """
    if assignment.snoozed_severity is None or newer.signal_type == SignalType.SUSPECT_DATA:
        return False
    return is_regression or newer.severity >= assignment.snoozed_severity + WORSE_BY


def _snooze(desk: Desk, signal_id: UUID, request: SnoozeRequest, if_match: Precondition | None) -> None:
    work = desk.work(signal_id, if_match)
    assignment = work.assignment or untouched(work.signal, desk.now)
    if assignment.status not in _SNOOZABLE:
        raise ConflictError(f"A signal that is {assignment.status} is not put aside.", "not_snoozable")
    if request.until is not None and not desk.now < request.until <= desk.now + _LONGEST:
        detail = f"The date must be ahead, and at most {_LONGEST.days} days."
        raise InvalidError(detail, "bad_date", errors=[FieldProblem(pointer="/body/until", detail=detail)])
    before = service_events.state(assignment, desk.names)
    assignment.snoozed_until = request.until
    assignment.snoozed_severity = work.signal.severity if request.until_worse else None
    assignment.snoozed_at, assignment.snoozed_by = desk.now, desk.user.id
    assignment.version += 1
    assignment.updated_at = desk.now
    after = service_events.state(assignment, desk.names)
    event = service_events_due.snoozed(work.signal, before, after, desk.user, request.notes)
    desk.take(work, assignment, None, event)
