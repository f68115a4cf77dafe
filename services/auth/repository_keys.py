"""SQL of signing keys, and of what this service must know to verify the tokens that it issued."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.models import Session, SigningKey, User
from shared.access import AccessState

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('compass.signing-keys'), hashtext(current_schema()))")


async def lock_keys(session: AsyncSession) -> None:
    """Let one transaction at a time change the set of keys, whether there are any or not."""
    await session.execute(_LOCK)


async def add(session: AsyncSession, columns: Mapping[str, Any], signs_from: datetime) -> None:
    """Store a new key."""
    await session.execute(insert(SigningKey).values(**columns, signs_from=signs_from))


async def verifying(session: AsyncSession, now: datetime) -> Sequence[SigningKey]:
    """Every key whose tokens are accepted, the ones that do not sign yet included."""
    found = await session.scalars(
        select(SigningKey)
        .where(or_(SigningKey.verifies_until.is_(None), SigningKey.verifies_until > now))
        .order_by(SigningKey.signs_from, SigningKey.kid)
    )
    return found.all()


async def retire(session: AsyncSession, verifies_until: datetime) -> None:
    """Let every key that is not retired yet verify no longer than until then."""
    await session.execute(
        update(SigningKey).where(SigningKey.verifies_until.is_(None)).values(verifies_until=verifies_until)
    )


async def revoke(session: AsyncSession, now: datetime) -> None:
    """Let no key verify from now on."""
    await session.execute(
        update(SigningKey)
        .where(or_(SigningKey.verifies_until.is_(None), SigningKey.verifies_until > now))
        .values(verifies_until=now)
    )


async def forget(session: AsyncSession, before: datetime) -> None:
    """Delete keys, private halves and all, that verify nothing since before a moment."""
    await session.execute(
        delete(SigningKey).where(SigningKey.verifies_until < before).execution_options(synchronize_session=False)
    )


async def every(session: AsyncSession) -> Sequence[SigningKey]:
    """All keys there are, locked."""
    return (await session.scalars(select(SigningKey).order_by(SigningKey.kid).with_for_update())).all()


async def reseal(session: AsyncSession, kid: str, columns: Mapping[str, Any]) -> None:
    """Store what a key's data key was encrypted to anew."""
    await session.execute(update(SigningKey).where(SigningKey.kid == kid).values(**columns))


async def signing(session: AsyncSession, now: datetime) -> SigningKey | None:
    """The key that signs now: the newest whose time has come."""
    return await session.scalar(
        select(SigningKey)
        .where(SigningKey.signs_from <= now, or_(SigningKey.verifies_until.is_(None), SigningKey.verifies_until > now))
        .order_by(SigningKey.signs_from.desc(), SigningKey.kid)
        .limit(1)
    )


async def load_access(session: AsyncSession, token_lifetime: timedelta) -> AccessState:
    """Keys and revocations straight from this service's own tables; tokens live no longer than the given time."""
    now = datetime.now(UTC)
    keys = {key.kid: key.public_jwk for key in await verifying(session, now)}
    since = now - token_lifetime
    ended = await session.scalars(select(Session.id).where(Session.ended_at > since))
    revoked = await session.execute(select(User.id, User.tokens_valid_from).where(User.tokens_valid_from > since))
    inactive = await session.scalars(select(User.id).where(User.is_active.is_(False)))
    return AccessState(
        keys=keys,
        revoked_sessions=frozenset(ended),
        revoked_users={user: moment for user, moment in revoked if moment is not None},
        inactive_users=frozenset(inactive),
    )
