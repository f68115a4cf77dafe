"""SQL of sessions and their refresh tokens."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import cast, delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.models import RefreshToken, Session


async def create(
    session: AsyncSession,
    user_id: UUID,
    now: datetime,
    expires_at: datetime,
    address: str | None,
    user_agent: str | None,
) -> Session:
    """Begin a session."""
    statement = insert(Session).values(
        user_id=user_id,
        created_at=now,
        last_used_at=now,
        expires_at=expires_at,
        address=address,
        user_agent=user_agent,
    )
    return (await session.scalars(statement.returning(Session))).one()


async def add_token(session: AsyncSession, session_id: UUID, token_hash: bytes, now: datetime) -> None:
    """Add a refresh token to a session's family."""
    await session.execute(insert(RefreshToken).values(token_hash=token_hash, session_id=session_id, issued_at=now))


async def find_owner(session: AsyncSession, token_hash: bytes) -> UUID | None:
    """Whose refresh token it is."""
    return await session.scalar(
        select(Session.user_id)
        .join(RefreshToken, RefreshToken.session_id == Session.id)
        .where(RefreshToken.token_hash == token_hash)
    )


async def find_token(session: AsyncSession, token_hash: bytes) -> tuple[RefreshToken, Session] | None:
    """A refresh token and its session; stable while the user is locked."""
    row = await session.execute(
        select(RefreshToken, Session)
        .join(Session, RefreshToken.session_id == Session.id)
        .where(RefreshToken.token_hash == token_hash)
    )
    found = row.first()
    return found if found is None else (found[0], found[1])


async def is_used(session: AsyncSession, token_hash: bytes) -> bool:
    """Whether a refresh token has been turned in."""
    used_at = await session.scalar(select(RefreshToken.used_at).where(RefreshToken.token_hash == token_hash))
    return used_at is not None


async def use_token(session: AsyncSession, token_hash: bytes, salt: bytes, now: datetime) -> None:
    """Mark a refresh token as turned in, and its successor as given out."""
    await session.execute(
        update(RefreshToken).where(RefreshToken.token_hash == token_hash).values(used_at=now, successor_salt=salt)
    )


async def touch(session: AsyncSession, session_id: UUID, now: datetime) -> None:
    """Note that a session goes on."""
    await session.execute(update(Session).where(Session.id == session_id).values(last_used_at=now))


async def end(
    session: AsyncSession, user_id: UUID, session_ids: Collection[UUID], reason: str, now: datetime
) -> Sequence[UUID]:
    """End those of the user's sessions that have not ended; answers their ids."""
    ended = await session.scalars(
        update(Session)
        .where(Session.user_id == user_id, Session.id.in_(session_ids), Session.ended_at.is_(None))
        .values(ended_at=now, end_reason=reason)
        .returning(Session.id)
        .execution_options(synchronize_session=False)
    )
    return ended.all()


async def going_on(session: AsyncSession, user_id: UUID, idle: timedelta) -> Sequence[Session]:
    """The user's sessions that have neither ended nor expired nor been idle for too long, the last used first."""
    found = await session.scalars(
        select(Session)
        .where(
            Session.user_id == user_id,
            Session.ended_at.is_(None),
            Session.expires_at > func.now(),
            Session.last_used_at > func.now() - idle,
        )
        .order_by(Session.last_used_at.desc(), Session.id)
    )
    return found.all()


async def open_ones(session: AsyncSession, user_id: UUID) -> Sequence[UUID]:
    """The user's sessions that have not ended, idle ones among them."""
    found = await session.scalars(
        select(Session.id).where(
            Session.user_id == user_id, Session.ended_at.is_(None), Session.expires_at > func.now()
        )
    )
    return found.all()


async def owners_of_open_ones(session: AsyncSession) -> Sequence[UUID]:
    """Who has a session that has not ended."""
    open_ = select(Session.user_id).where(Session.ended_at.is_(None), Session.expires_at > func.now())
    return (await session.scalars(open_.distinct().order_by(Session.user_id))).all()


async def have_begun_in(session: AsyncSession, user_id: UUID, network: str) -> bool:
    """Whether the user has logged in from an address of this network, in a session that nobody had to end.

    Ended sessions are kept for a while: this looks as far back.
    """
    begun = exists().where(
        Session.user_id == user_id,
        or_(Session.ended_at.is_(None), Session.end_reason == "logout"),
        cast(Session.address, INET).op("<<=")(cast(network, INET)),
    )
    return bool(await session.scalar(select(begun)))


async def ended_since(session: AsyncSession, user_id: UUID, moment: datetime) -> Sequence[tuple[UUID, datetime]]:
    """The user's sessions that ended after a moment, and when."""
    rows = await session.execute(
        select(Session.id, Session.ended_at).where(Session.user_id == user_id, Session.ended_at > moment)
    )
    return [(identity, ended_at) for identity, ended_at in rows if ended_at is not None]


async def forget(session: AsyncSession, before: datetime) -> None:
    """Delete sessions, with their refresh tokens, that were over before a moment."""
    await session.execute(
        delete(Session)
        .where((Session.expires_at < before) | (Session.ended_at < before))
        .execution_options(synchronize_session=False)
    )
