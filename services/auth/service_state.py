"""What other services are told of a user: the present state, with every event."""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import repository_sessions
from services.auth.models import User
from shared import outbox
from shared.events import auth as events
from shared.events.envelope import EventType


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


async def tell(session: AsyncSession, kind: EventType, user_id: UUID, data: Struct, actor_id: UUID | None) -> None:
    """Publish an event about a user who is locked, or new; without an actor for the system."""
    await outbox.publish(session, outbox.Event(type=kind, subject=user_id, key=user_id, actor_id=actor_id, data=data))
