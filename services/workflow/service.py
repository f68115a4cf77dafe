"""One signal's workflow: shown, and changed under its lock."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository_views, service_decisions, service_desk
from services.workflow.schemas import AssignmentView, AssignRequest, StatusRequest
from services.workflow.service_views import Fields, shown
from services.workflow.settings import DueSettings
from shared.auth import User
from shared.db import AnySession
from shared.preconditions import Precondition


async def show(session: AnySession, user: User, signal_id: UUID) -> Fields:
    """The signal's assignment as this user sees it.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
    """
    look = await repository_views.shown(session, signal_id)
    if look is None:
        raise service_desk.not_known_yet()
    return shown(user, look)


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
