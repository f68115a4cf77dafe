"""The answers of this service: an assignment with names, links and what the caller may do next."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID, uuid4

from services.workflow.models import Assignment, KnownSignal
from services.workflow.repository import ClosedAt
from services.workflow.repository_views import UNTOUCHED, AssignmentRow, Look
from services.workflow.schemas import AssignmentView
from services.workflow.service_events import UNKNOWN_NAME
from services.workflow.service_transitions import allowed_next
from shared.auth import User
from shared.events.vocabulary import AssignmentStatus

Fields: TypeAlias = dict[str, Any]
"""An `AssignmentView` by its fields. Many are shown at once, and a model for each would cost more than all the rest."""


class Work(NamedTuple):
    """A signal with the assignment that it shows, and what has superseded it, if anything."""

    signal: KnownSignal
    assignment: Assignment | None
    superseded_by: UUID | None


def etag(work: Work | Look) -> str:
    """The version of what is shown."""
    version = work.assignment.version if work.assignment else 0
    return f'"{version}"' if work.superseded_by is None else f'"{version}.{work.superseded_by}"'


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


def shown(user: User, look: Look) -> Fields:
    """What a read has found, as this user sees it."""
    return fields(user, look, {user.id: user.name, **look.names}, look.closed, look.at)


def view(user: User, work: Work, names: Mapping[UUID, str], closed: Sequence[ClosedAt]) -> AssignmentView:
    """The signal's workflow as this user sees it; ``closed`` are the closed assignments of its entity, or of more."""
    return AssignmentView(**fields(user, work, names, closed, datetime.now(UTC)))


def fields(
    user: User, work: Work | Look, names: Mapping[UUID, str], closed: Sequence[ClosedAt], now: datetime
) -> Fields:
    """The same as `view`, by its fields in their order, as of a moment."""
    assignment = work.assignment or UNTOUCHED
    earlier = [
        other
        for other in closed
        if other.entity_id == work.signal.entity_id and other.detected_at < work.signal.detected_at
    ]
    reopens = max(earlier, key=lambda other: other.detected_at, default=None)
    return {
        "id": assignment.id,
        "signal_id": work.signal.signal_id,
        "entity_id": work.signal.entity_id,
        "status": assignment.status,
        "allowed_next_statuses": allowed_next(user, assignment, superseded=work.superseded_by is not None),
        "assignee_id": assignment.assignee_id,
        "assignee": _person(assignment.assignee_id, names),
        "assigner_id": assignment.assigner_id,
        "assigner": _person(assignment.assigner_id, names),
        "role_type": assignment.role_type,
        "rule_id": assignment.rule_id,
        "rule_version": assignment.rule_version,
        "notes": assignment.notes,
        "resolution_notes": assignment.resolution_notes,
        "resolution_reason": assignment.resolution_reason,
        "resolved_by": _person(assignment.resolved_by, names),
        "assigned_at": assignment.assigned_at,
        "started_at": assignment.started_at,
        "resolved_at": assignment.resolved_at,
        "closed_at": assignment.closed_at,
        "due_at": assignment.due_at,
        "is_overdue": _is_overdue(assignment, now),
        "snoozed_until": assignment.snoozed_until,
        "snooze": _snooze(assignment, names),
        "created_at": assignment.created_at,
        "updated_at": assignment.updated_at,
        "superseded_by": work.superseded_by,
        "reopens": {"signal_id": reopens.signal_id, "closed_at": reopens.closed_at} if reopens else None,
        "etag": etag(work),
    }


def _is_overdue(assignment: Assignment | AssignmentRow, now: datetime) -> bool:
    """As `repository_filters.OVERDUE`."""
    put_aside = assignment.snoozed_at is not None and (
        assignment.snoozed_until is None or assignment.snoozed_until > now
    )
    worked_on = assignment.status in (AssignmentStatus.ASSIGNED, AssignmentStatus.IN_PROGRESS)
    return worked_on and assignment.due_at is not None and assignment.due_at <= now and not put_aside


def _snooze(assignment: Assignment | AssignmentRow, names: Mapping[UUID, str]) -> Fields | None:
    if assignment.snoozed_at is None:
        return None
    return {
        "until": assignment.snoozed_until,
        "until_worse": assignment.snoozed_severity is not None,
        "at": assignment.snoozed_at,
        "by": _person(assignment.snoozed_by, names),
    }


def _person(user_id: UUID | None, names: Mapping[UUID, str]) -> Fields | None:
    return None if user_id is None else {"id": user_id, "name": names.get(user_id, UNKNOWN_NAME)}
