"""One signal's workflow: shown, and changed under its lock."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository, service_decisions, service_desk
from services.workflow.models import KnownSignal
from services.workflow.schemas import AssignmentView, AssignRequest, StatusRequest
from services.workflow.service_views import people_of, view
from services.workflow.settings import DueSettings
from shared.auth import User
from shared.preconditions import Precondition


async def show(session: AsyncSession, user: User, signal_id: UUID) -> AssignmentView:
    """The signal's assignment as this user sees it.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
    """
    # The assignment first: one that is carried over in between is then found superseded, not missing.
    at = await repository.assignments_at(session, [signal_id])
    signal = await known_signal(session, signal_id)
    work = (await service_desk.works_of(session, [signal], at))[signal_id]
    named = people_of([work.assignment] if work.assignment else [])
    names = {user.id: user.name} | await repository.names_of(session, named)
    return view(user, work, names, await repository.closed(session, [signal.entity_id]))


async def known_signal(session: AsyncSession, signal_id: UUID) -> KnownSignal:
    """A signal that was heard of.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
    """
    signal = await repository.find_signal(session, signal_id)
    if signal is None:
        raise service_desk.not_known_yet()
    return signal


async def assign(
    session: AsyncSession,
    user: User,
    signal_id: UUID,
    request: AssignRequest,
    if_match: Precondition | None,
    due: DueSettings,
) -> AssignmentView:
    """Assign a new signal, or reassign one that is assigned or in progress.

    Raises:
        ProblemError: as `service_decisions.assign`.
    """
    desk = await service_desk.lock(session, user, [signal_id], [request.assignee_id])
    service_decisions.assign(desk, signal_id, request, if_match, due)
    await service_desk.settle(session, desk)
    return desk.view(signal_id)


async def unassign(session: AsyncSession, user: User, signal_id: UUID, if_match: Precondition | None) -> AssignmentView:
    """Take a signal back that is assigned and not begun.

    Raises:
        ProblemError: as `service_decisions.unassign`.
    """
    desk = await service_desk.lock(session, user, [signal_id])
    service_decisions.unassign(desk, signal_id, if_match)
    await service_desk.settle(session, desk)
    return desk.view(signal_id)


async def change_status(
    session: AsyncSession, user: User, signal_id: UUID, request: StatusRequest, if_match: Precondition | None
) -> AssignmentView:
    """Move the status along the transition table.

    Raises:
        ProblemError: as `service_decisions.change_status`.
    """
    desk = await service_desk.lock(session, user, [signal_id])
    service_decisions.change_status(desk, signal_id, request, if_match)
    await service_desk.settle(session, desk)
    return desk.view(signal_id)
