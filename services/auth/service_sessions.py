"""How sessions end before their time: all their tokens are refused everywhere within two seconds."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import repository, repository_sessions
from services.auth.models import Session, User
from services.auth.service_state import state, tell
from services.auth.service_tools import Tools
from shared.errors import NotFoundError
from shared.events import auth as events


async def going_on(session: AsyncSession, tools: Tools, user_id: UUID) -> Sequence[Session]:
    """The user's sessions that can be gone on with, the last used first."""
    return await repository_sessions.going_on(session, user_id, tools.settings.session_idle)


async def logout(session: AsyncSession, tools: Tools, user_id: UUID, session_id: UUID) -> None:
    """End the session; nothing where it has ended already."""
    user = await repository.lock(session, user_id)
    if user is not None:
        await end(session, tools, user, [session_id], "logout", user_id)


async def end_one(session: AsyncSession, tools: Tools, user_id: UUID, session_id: UUID) -> None:
    """End one session of the user.

    Raises:
        NotFoundError: where the user has no such session that goes on.
    """
    user = await repository.lock(session, user_id)
    if user is None or session_id not in {item.id for item in await going_on(session, tools, user_id)}:
        raise NotFoundError("There is no such session, or it has ended.")
    await end(session, tools, user, [session_id], "revoked", user_id)


async def end_others(session: AsyncSession, tools: Tools, user_id: UUID, kept: UUID) -> None:
    """End all sessions of the user but one."""
    user = await repository.lock(session, user_id)
    if user is not None:
        await end_all(session, tools, user, "revoked", user_id, kept=kept)


async def end_all(
    session: AsyncSession, tools: Tools, user: User, reason: str, actor_id: UUID | None, kept: UUID | None = None
) -> None:
    """End the sessions of a locked user, all or all but one."""
    ids = [session_id for session_id in await repository_sessions.open_ones(session, user.id) if session_id != kept]
    await end(session, tools, user, ids, reason, actor_id)


async def end(
    session: AsyncSession, tools: Tools, user: User, session_ids: list[UUID], reason: str, actor_id: UUID | None
) -> None:
    """End sessions of a locked user and have their access tokens refused everywhere."""
    now = datetime.now(UTC)
    ended = await repository_sessions.end(session, user.id, session_ids, reason, now)
    if ended:
        told = await state(session, user, tools.longest_acceptance, now)
        data = events.SessionsRevoked(user=told, session_ids=sorted(ended), reason=reason)
        await tell(session, events.SESSIONS_REVOKED, user.id, data, actor_id)
