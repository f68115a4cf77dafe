"""The answers of this service: an assignment with names, links and what the caller may do next."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository
from services.workflow.models import Assignment, KnownSignal
from services.workflow.schemas import (
    AssignmentView,
    ClosedSignal,
    ListedAssignment,
    PersonView,
    SignalView,
    SnoozeView,
)
from services.workflow.service_events import UNKNOWN_NAME
from services.workflow.service_transitions import allowed_next
from shared.auth import User
from shared.events.vocabulary import AssignmentStatus


class Work(NamedTuple):
    """A signal with the assignment that it shows, and what has superseded it, if anything."""

    signal: KnownSignal
    assignment: Assignment | None
    superseded_by: UUID | None

    @property
    def etag(self) -> str:
        """The version of what is shown."""
        version = self.assignment.version if self.assignment else 0
        return f'"{version}"' if self.superseded_by is None else f'"{version}.{self.superseded_by}"'


def untouched(signal: KnownSignal, now: datetime) -> Assignment:
    """The assignment of a signal that nobody has touched, not stored."""
    return Assignment(
        id=uuid4(),
        signal_id=signal.signal_id,
        entity_id=signal.entity_id,
        status=AssignmentStatus.NEW,
        version=0,
        opened_at=signal.heard_at,
        created_at=now,
        updated_at=now,
    )


def people_of(assignments: Iterable[Assignment]) -> set[UUID]:
    """Everybody whom the assignments name."""
    return {
        person
        for assignment in assignments
        for person in (assignment.assignee_id, assignment.assigner_id, assignment.resolved_by, assignment.snoozed_by)
        if person
    }


async def listed(session: AsyncSession, user: User, works: Sequence[Work]) -> list[ListedAssignment]:
    """Several at once, each with what a list calls its signal."""
    named = people_of(work.assignment for work in works if work.assignment)
    names = {user.id: user.name} | await repository.names_of(session, named)
    closed = await repository.closed(session, [work.signal.entity_id for work in works])
    return [
        ListedAssignment(signal=SignalView.model_validate(work.signal), **view(user, work, names, closed).model_dump())
        for work in works
    ]


def view(user: User, work: Work, names: Mapping[UUID, str], closed: Sequence[repository.ClosedAt]) -> AssignmentView:
    """The signal's workflow as this user sees it; ``closed`` are the closed assignments of its entity, or of more."""
    shown = work.assignment or untouched(work.signal, datetime.now(UTC))
    touched = work.assignment is not None
    earlier = [
        other
        for other in closed
        if other.entity_id == work.signal.entity_id and other.detected_at < work.signal.detected_at
    ]
    reopens = max(earlier, key=lambda other: other.detected_at, default=None)
    return AssignmentView(
        id=shown.id if touched else None,
        signal_id=work.signal.signal_id,
        entity_id=work.signal.entity_id,
        status=shown.status,
        allowed_next_statuses=list(allowed_next(user, shown, superseded=work.superseded_by is not None)),
        assignee_id=shown.assignee_id,
        assignee=_person(shown.assignee_id, names),
        assigner_id=shown.assigner_id,
        assigner=_person(shown.assigner_id, names),
        role_type=shown.role_type,
        rule_id=shown.rule_id,
        rule_version=shown.rule_version,
        notes=shown.notes,
        resolution_notes=shown.resolution_notes,
        resolution_reason=shown.resolution_reason,
        resolved_by=_person(shown.resolved_by, names),
        assigned_at=shown.assigned_at,
        started_at=shown.started_at,
        resolved_at=shown.resolved_at,
        closed_at=shown.closed_at,
        due_at=shown.due_at,
        is_overdue=_is_overdue(shown, datetime.now(UTC)),
        snoozed_until=shown.snoozed_until,
        snooze=_snooze(shown, names),
        created_at=shown.created_at if touched else None,
        updated_at=shown.updated_at if touched else None,
        superseded_by=work.superseded_by,
        reopens=ClosedSignal(signal_id=reopens.signal_id, closed_at=reopens.closed_at) if reopens else None,
        etag=work.etag,
    )


def _is_overdue(assignment: Assignment, now: datetime) -> bool:
    """As `repository_due.is_overdue`."""
    put_aside = assignment.snoozed_at is not None and (
        assignment.snoozed_until is None or assignment.snoozed_until > now
    )
    worked_on = assignment.status in (AssignmentStatus.ASSIGNED, AssignmentStatus.IN_PROGRESS)
    return worked_on and assignment.due_at is not None and assignment.due_at <= now and not put_aside


def _snooze(assignment: Assignment, names: Mapping[UUID, str]) -> SnoozeView | None:
    if assignment.snoozed_at is None:
        return None
    return SnoozeView(
        until=assignment.snoozed_until,
        until_worse=assignment.snoozed_severity is not None,
        at=assignment.snoozed_at,
        by=_person(assignment.snoozed_by, names),
    )


def _person(user_id: UUID | None, names: Mapping[UUID, str]) -> PersonView | None:
    return None if user_id is None else PersonView(id=user_id, name=names.get(user_id, UNKNOWN_NAME))
