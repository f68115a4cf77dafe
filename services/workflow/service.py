"""The rules of assigning and moving: who, from where, decided once under the signal's lock."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository, service_events
from services.workflow.models import Assignment, AssignmentTransition, KnownSignal, KnownUser, TransitionKind
from services.workflow.schemas import AssignmentView, AssignRequest, StatusRequest
from services.workflow.service_transitions import NEXT, check_person, move
from services.workflow.service_views import Work, names_for, untouched, view
from shared import outbox
from shared.auth import User
from shared.errors import ConflictError, FieldProblem, InvalidError, NotFoundError
from shared.events.vocabulary import AssignmentStatus, UserRole
from shared.events.workflow import AssignmentReason, AssignmentState
from shared.preconditions import Precondition


async def show(session: AsyncSession, user: User, signal_id: UUID) -> AssignmentView:
    """The signal's assignment as this user sees it.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
    """
    # The assignment first: one that is carried over in between is then found superseded, not missing.
    assignment = await repository.find_assignment(session, signal_id)
    work = await _work(session, await known_signal(session, signal_id), assignment)
    return await view(session, user, work)


async def known_signal(session: AsyncSession, signal_id: UUID, *, lock: bool = False) -> KnownSignal:
    """The signal, with ``lock`` kept from changing until the end of the transaction.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
    """
    find = repository.lock_signal if lock else repository.find_signal
    signal = await find(session, signal_id)
    if signal is None:
        raise NotFoundError(
            "No signal of this id is known to the workflow yet. One that was published just now may take a moment.",
            "signal_not_known_yet",
        )
    return signal


async def assign(
    session: AsyncSession, user: User, signal_id: UUID, request: AssignRequest, if_match: Precondition | None
) -> AssignmentView:
    """Assign a new signal, or reassign one that is assigned or in progress.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
        PreconditionFailedError: the version is another one.
        ConflictError: superseded, resolved, closed, or a reassignment without If-Match.
        InvalidError: nobody of that id can be assigned in that role.
    """
    work = await lock_work(session, signal_id, if_match)
    assignment = work.assignment or untouched(work.signal)
    first = assignment.status is AssignmentStatus.NEW
    if not first:
        _check_reassignable(assignment.status, if_match)
    assignee = await _assignee(session, request)

    now = datetime.now(UTC)
    names = await names_for(session, user, assignment) | {assignee.user_id: assignee.name}
    before = service_events.state(assignment, names)
    if first:
        move(assignment, AssignmentStatus.ASSIGNED, user.id, now)
    if first or request.notes is not None:
        assignment.notes = request.notes
    assignment.assignee_id, assignment.assigner_id = assignee.user_id, user.id
    assignment.role_type = request.role_type
    assignment.rule_id = None
    after = await _record(
        session,
        user,
        assignment,
        before,
        now,
        names,
        kind=TransitionKind.ASSIGNED if first else TransitionKind.REASSIGNED,
        notes=request.notes,
    )
    reason = AssignmentReason.ASSIGNED if first else AssignmentReason.REASSIGNED
    await outbox.publish(session, service_events.assigned(work.signal, before, after, user, reason))
    return await view(session, user, work._replace(assignment=assignment))


async def unassign(session: AsyncSession, user: User, signal_id: UUID, if_match: Precondition | None) -> AssignmentView:
    """Take a signal back that is assigned and not begun. Whoever may assign may do this.

    Raises:
        NotFoundError, PreconditionFailedError, ConflictError: as for `change_status`.
    """
    work = await lock_work(session, signal_id, if_match)
    request = StatusRequest(status=AssignmentStatus.NEW)
    return await _move(session, user, work, _movable(work, AssignmentStatus.NEW), request)


async def change_status(
    session: AsyncSession, user: User, signal_id: UUID, request: StatusRequest, if_match: Precondition | None
) -> AssignmentView:
    """Move the status along the transition table.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
        PreconditionFailedError: the version is another one.
        ConflictError: superseded, or the table has no such transition.
        ForbiddenError: the transition is there, but not for this person.
        InvalidError: resolution notes are missing, or given where nothing is resolved.
    """
    work = await lock_work(session, signal_id, if_match)
    assignment = _movable(work, request.status)
    check_person(user, assignment, request.status)
    _check_resolution(request)
    return await _move(session, user, work, assignment, request)


async def lock_work(session: AsyncSession, signal_id: UUID, if_match: Precondition | None = None) -> Work:
    """The signal and its assignment, kept from others until the end of the transaction.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
        PreconditionFailedError: the version is another one.
        ConflictError: ``superseded``.
    """
    signal = await known_signal(session, signal_id, lock=True)
    work = await _work(session, signal, await repository.find_assignment(session, signal_id))
    if if_match is not None:
        if_match.require(work.etag)
    if work.superseded_by is not None:
        raise ConflictError(f"A newer detection has superseded this signal: {work.superseded_by}.", "superseded")
    return work


async def _work(session: AsyncSession, signal: KnownSignal, assignment: Assignment | None) -> Work:
    if signal.is_current:
        return Work(signal, assignment, None)
    if assignment is None:
        assignment = await repository.find_assignment_that_left(session, signal.signal_id)
    return Work(signal, assignment, await repository.current_signal_id(session, signal.entity_id))


def _check_reassignable(status: AssignmentStatus, if_match: Precondition | None) -> None:
    if status not in (AssignmentStatus.ASSIGNED, AssignmentStatus.IN_PROGRESS):
        raise ConflictError(f"A signal that is {status} is not assigned again.", "transition_not_allowed")
    if if_match is None:
        raise ConflictError(
            "The signal is assigned already. Reassigning it needs If-Match with the ETag of its assignment.",
            "already_assigned",
        )


async def _assignee(session: AsyncSession, request: AssignRequest) -> KnownUser:
    user = await repository.find_user(session, request.assignee_id)
    if user is None:
        raise _invalid("assignee_id", "No user of this id is known.", "assignee_unknown")
    if not user.is_active:
        raise _invalid("assignee_id", f"The account of {user.name} is not active.", "assignee_inactive")
    if user.role is UserRole.VIEWER:
        raise _invalid("assignee_id", f"{user.name} is a viewer and cannot be assigned.", "assignee_is_viewer")
    if user.role is not UserRole.ADMIN and user.role.value != request.role_type.value:
        raise _invalid("role_type", f"{user.name} has the role {user.role}.", "role_type_mismatch")
    return user


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


async def _move(
    session: AsyncSession, user: User, work: Work, assignment: Assignment, request: StatusRequest
) -> AssignmentView:
    now = datetime.now(UTC)
    names = await names_for(session, user, assignment)
    before = service_events.state(assignment, names)
    move(assignment, request.status, user.id, now)
    if request.status is AssignmentStatus.RESOLVED:
        assignment.resolution_notes = request.resolution_notes
        assignment.resolution_reason = request.resolution_reason
    unassigned = request.status is AssignmentStatus.NEW
    after = await _record(
        session,
        user,
        assignment,
        before,
        now,
        names,
        kind=TransitionKind.UNASSIGNED if unassigned else TransitionKind.MOVED,
        notes=request.notes,
        resolution_notes=request.resolution_notes,
        resolution_reason=request.resolution_reason,
    )
    await outbox.publish(session, service_events.moved(work.signal, before, after, user, request.notes))
    return await view(session, user, work)


async def _record(
    session: AsyncSession,
    user: User,
    assignment: Assignment,
    before: AssignmentState,
    now: datetime,
    names: dict[UUID, str],
    **line: object,
) -> AssignmentState:
    """Store the changed assignment as its next version, with a line of history; its state after the change."""
    assignment.version += 1
    assignment.updated_at = now
    after = service_events.state(assignment, names)
    transition = AssignmentTransition(
        assignment_id=assignment.id,
        entity_id=assignment.entity_id,
        signal_id=assignment.signal_id,
        from_status=before.status,
        to_status=after.status,
        actor_id=user.id,
        actor_name=user.name,
        assignee_id=assignment.assignee_id,
        assignee_name=after.assignee.name if after.assignee else None,
        created_at=now,
        **line,
    )
    await repository.store(session, assignment, transition)
    return after
