"""The rules of assigning and moving: who, from where. Decided in memory, for one signal or for hundreds.

Each function checks all before it changes anything: one that raises leaves the desk as it was.
"""

from typing import NamedTuple
from uuid import UUID

from services.workflow import service_events
from services.workflow.models import Assignment, AssignmentTransition, TransitionKind
from services.workflow.schemas import AssignRequest, StatusRequest
from services.workflow.service_assignees import check_assignable
from services.workflow.service_desk import Desk
from services.workflow.service_transitions import NEXT, check_person, move
from services.workflow.service_views import Work, untouched
from services.workflow.settings import DueSettings
from shared.errors import ConflictError, FieldProblem, InvalidError
from shared.events.vocabulary import AssignmentStatus
from shared.events.workflow import AssignmentReason, AssignmentState
from shared.preconditions import Precondition


def assign(
    desk: Desk, signal_id: UUID, request: AssignRequest, if_match: Precondition | None, due: DueSettings
) -> None:
    """Assign a new signal, or reassign one that is assigned or in progress, which keeps its due date.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
        PreconditionFailedError: the version is another one.
        ConflictError: superseded, resolved, closed, or a reassignment without If-Match.
        InvalidError: nobody of that id can be assigned in that role.
    """
    work = desk.work(signal_id, if_match)
    assignment = work.assignment or untouched(work.signal, desk.now)
    first = assignment.status is AssignmentStatus.NEW
    if not first:
        _check_reassignable(assignment.status, if_match)
    assignee = check_assignable(desk.people.get(request.assignee_id), request.role_type)

    before = service_events.state(assignment, desk.names)
    if first:
        move(assignment, AssignmentStatus.ASSIGNED, desk.user.id, desk.now)
        assignment.due_at = due.due_at(desk.now, work.signal.severity)
    if first or request.notes is not None:
        assignment.notes = request.notes
    assignment.assignee_id, assignment.assigner_id = assignee.user_id, desk.user.id
    assignment.role_type = request.role_type
    assignment.rule_id = assignment.rule_version = None
    kind = TransitionKind.ASSIGNED if first else TransitionKind.REASSIGNED
    change = _change(desk, assignment, before, kind=kind, notes=request.notes)
    reason = AssignmentReason.ASSIGNED if first else AssignmentReason.REASSIGNED
    event = service_events.assigned(work.signal, before, change.after, desk.user, reason)
    desk.take(work, assignment, change.line, event)


def change_status(desk: Desk, signal_id: UUID, request: StatusRequest, if_match: Precondition | None) -> None:
    """Move the status along the transition table.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
        PreconditionFailedError: the version is another one.
        ConflictError: superseded, or the table has no such transition.
        ForbiddenError: the transition is there, but not for this person.
        InvalidError: resolution notes are missing, or given where nothing is resolved.
    """
    work = desk.work(signal_id, if_match)
    assignment = _movable(work, request.status)
    check_person(desk.user, assignment, request.status)
    _check_resolution(request)
    _move(desk, work, assignment, request)


def unassign(desk: Desk, signal_id: UUID, if_match: Precondition | None) -> None:
    """Take a signal back that is assigned and not begun. Whoever may assign may do this.

    Raises:
        NotFoundError, PreconditionFailedError, ConflictError: as for `change_status`.
    """
    work = desk.work(signal_id, if_match)
    _move(desk, work, _movable(work, AssignmentStatus.NEW), StatusRequest(status=AssignmentStatus.NEW))


def _check_reassignable(status: AssignmentStatus, if_match: Precondition | None) -> None:
    if status not in (AssignmentStatus.ASSIGNED, AssignmentStatus.IN_PROGRESS):
        raise ConflictError(f"A signal that is {status} is not assigned again.", "transition_not_allowed")
    if if_match is None:
        raise ConflictError(
            "The signal is assigned already. Reassigning it needs If-Match with the ETag of its assignment.",
            "already_assigned",
        )


def _movable(work: Work, to: AssignmentStatus) -> Assignment:
    """The assignment, where the table has a line from its status to this one."""
    status = work.assignment.status if work.assignment else AssignmentStatus.NEW
    if work.assignment is None or status is AssignmentStatus.NEW:
        if to is AssignmentStatus.ASSIGNED:
            raise ConflictError("A new signal becomes assigned by assigning it to somebody.", "assignee_needed")
        raise ConflictError(f"A signal that is new does not become {to}.", "transition_not_allowed")
    if to not in NEXT[status]:
        choices = " or ".join(NEXT[status]) or "nothing any more"
        raise ConflictError(f"A signal that is {status} becomes {choices}, not {to}.", "transition_not_allowed")
    return work.assignment


def _check_resolution(request: StatusRequest) -> None:
    if request.status is AssignmentStatus.RESOLVED:
        if not (request.resolution_notes or "").strip():
            raise _invalid("resolution_notes", "Resolving needs resolution notes.", "resolution_notes_needed")
    elif request.resolution_notes is not None or request.resolution_reason is not None:
        field = "resolution_reason" if request.resolution_notes is None else "resolution_notes"
        raise _invalid(field, "It is taken only with the status resolved.", "not_resolving")


def _invalid(field: str, detail: str, code: str) -> InvalidError:
    return InvalidError(detail, code, errors=[FieldProblem(pointer=f"/body/{field}", detail=detail)])


def _move(desk: Desk, work: Work, assignment: Assignment, request: StatusRequest) -> None:
    before = service_events.state(assignment, desk.names)
    move(assignment, request.status, desk.user.id, desk.now)
    if request.status is AssignmentStatus.RESOLVED:
        assignment.resolution_notes = request.resolution_notes
        assignment.resolution_reason = request.resolution_reason
    unassigned = request.status is AssignmentStatus.NEW
    change = _change(
        desk,
        assignment,
        before,
        kind=TransitionKind.UNASSIGNED if unassigned else TransitionKind.MOVED,
        notes=request.notes,
        resolution_notes=request.resolution_notes,
        resolution_reason=request.resolution_reason,
    )
    event = service_events.moved(work.signal, before, change.after, desk.user, request.notes)
    desk.take(work, assignment, change.line, event)


class _Change(NamedTuple):
    after: AssignmentState
    line: AssignmentTransition


def _change(desk: Desk, assignment: Assignment, before: AssignmentState, **line: object) -> _Change:
    """Make the changed assignment its next version; its state after the change, and its line of history."""
    assignment.version += 1
    assignment.updated_at = desk.now
    after = service_events.state(assignment, desk.names)
    transition = AssignmentTransition(
        assignment_id=assignment.id,
        entity_id=assignment.entity_id,
        signal_id=assignment.signal_id,
        from_status=before.status,
        to_status=after.status,
        actor_id=desk.user.id,
        actor_name=desk.user.name,
        assignee_id=assignment.assignee_id,
        assignee_name=after.assignee.name if after.assignee else None,
        created_at=desk.now,
        **line,
    )
    return _Change(after, transition)
