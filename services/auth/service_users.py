"""Accounts, and what other services are told of them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import repository, repository_sessions
from services.auth.models import User
from shared import outbox
from shared.events import auth as events
from shared.events.vocabulary import UserRole


async def state(session: AsyncSession, user: User, acceptance: timedelta, now: datetime) -> events.UserState:
    """A user as other services may know one, with the revocations in force. The user is locked, or new.

    ``acceptance`` is how long a token may be accepted after it was issued.
    """
    revocations = [
        events.Revocation(session_id=session_id, issued_before=ended_at, until=ended_at + acceptance)
        for session_id, ended_at in await repository_sessions.ended_since(session, user.id, now - acceptance)
    ]
    if user.tokens_valid_from is not None and user.tokens_valid_from + acceptance > now:
        valid_from = user.tokens_valid_from
        revocations.append(events.Revocation(session_id=None, issued_before=valid_from, until=valid_from + acceptance))
    return events.UserState(
        user_id=user.id, name=user.name, role=user.role, is_active=user.is_active, revocations=revocations
    )


async def create(
    session: AsyncSession, email: str, name: str, role: UserRole, hashed_password: str, actor_id: UUID | None = None
) -> User | None:
    """Make an account and tell of it; None where the address is taken."""
    user = await repository.create(session, email, name, role, hashed_password)
    if user is None:
        return None
    told = await state(session, user, timedelta(), datetime.now(UTC))
    changed = ["name", "role", "is_active"]
    await outbox.publish(
        session,
        outbox.Event(
            type=events.USER_CREATED,
            subject=user.id,
            key=user.id,
            actor_id=actor_id,
            data=events.UserChanged(user=told, changed=changed),
        ),
    )
    return user
