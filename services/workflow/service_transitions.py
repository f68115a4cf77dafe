"""The transition table, who may use which of its lines, and what a line does to an assignment. Pure rules."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from services.workflow.models import Assignment
from services.workflow.repository_views import AssignmentRow
from shared.auth import Permission, User
from shared.errors import ForbiddenError
from shared.events.vocabulary import AssignmentStatus, UserRole

NEXT: Final[Mapping[AssignmentStatus, tuple[AssignmentStatus, ...]]] = {
    AssignmentStatus.NEW: (AssignmentStatus.ASSIGNED,),
    AssignmentStatus.ASSIGNED: (AssignmentStatus.IN_PROGRESS, AssignmentStatus.NEW),
    AssignmentStatus.IN_PROGRESS: (AssignmentStatus.RESOLVED, AssignmentStatus.ASSIGNED),
    AssignmentStatus.RESOLVED: (AssignmentStatus.CLOSED, AssignmentStatus.IN_PROGRESS),
    AssignmentStatus.CLOSED: (),
}

_REACHED_AT: Final = {
    AssignmentStatus.ASSIGNED: "assigned_at",
    AssignmentStatus.IN_PROGRESS: "started_at",
    AssignmentStatus.RESOLVED: "resolved_at",
    AssignmentStatus.CLOSED: "closed_at",
}
_ORDER: Final = tuple(AssignmentStatus)


def check_person(user: User, assignment: Assignment | AssignmentRow, to: AssignmentStatus) -> None:
    """Whether this person may make this move; the role and the table are checked elsewhere.

    Raises:
        ForbiddenError: ``own_resolution`` for closing what one resolved oneself, ``not_involved`` for anybody but the
            assignee, the assigner and admins.
    """
    if to is AssignmentStatus.CLOSED:
        if user.id == assignment.resolved_by:
            raise ForbiddenError("Somebody else than the person who resolved a signal closes it.", "own_resolution")
    elif user.role is not UserRole.ADMIN and user.id not in (assignment.assignee_id, assignment.assigner_id):
        raise ForbiddenError("Only the assignee, the assigner or an admin moves the status.", "not_involved")


def allowed_next(user: User, assignment: Assignment | AssignmentRow, *, superseded: bool) -> Sequence[AssignmentStatus]:
    """The statuses that this user may move the signal to now; from new that is done by assigning it."""
    if superseded:
        return ()
    if assignment.status is AssignmentStatus.NEW:
        return NEXT[assignment.status] if user.may(Permission.ASSIGN) else ()
    return [to for to in NEXT[assignment.status] if user.may(Permission.MOVE_STATUS) and _may(user, assignment, to)]


def _may(user: User, assignment: Assignment | AssignmentRow, to: AssignmentStatus) -> bool:
    try:
        check_person(user, assignment, to)
    except ForbiddenError:
        return False
    return True


def move(assignment: Assignment, to: AssignmentStatus, by: UUID, at: datetime) -> None:
    """Set the status with its timestamps: forward sets the one of the new status, back clears the later ones.

    `resolved_by` is kept on the way back, so that it always names who resolved it last. Moving to new clears the
    people, the role and the due date. Whatever moves is not put aside any more.
    """
    forward = _ORDER.index(to) > _ORDER.index(assignment.status)
    assignment.status = to
    if forward:
        setattr(assignment, _REACHED_AT[to], at)
    else:
        for later in _ORDER[_ORDER.index(to) + 1 :]:
            setattr(assignment, _REACHED_AT[later], None)
    if to is AssignmentStatus.RESOLVED:
        assignment.resolved_by = by
    elif to is AssignmentStatus.NEW:
        assignment.assignee_id = assignment.assigner_id = assignment.role_type = None
        assignment.rule_id = assignment.rule_version = None
        assignment.due_at = assignment.reminded_at = assignment.due_reminded_at = assignment.escalated_at = None
    wake(assignment)


def wake(assignment: Assignment) -> None:
    """Let it be put aside no longer."""
    assignment.snoozed_until = assignment.snoozed_severity = assignment.snoozed_at = assignment.snoozed_by = None
