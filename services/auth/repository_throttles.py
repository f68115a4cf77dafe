"""SQL of the pauses after failed logins."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import case, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.models import LoginThrottle


async def blocked_until(session: AsyncSession, keys: Sequence[tuple[str, bytes]]) -> datetime | None:
    """The latest moment until which any of these has to wait."""
    return await session.scalar(
        select(func.max(LoginThrottle.blocked_until)).where(
            tuple_(LoginThrottle.scope, LoginThrottle.key_hash).in_(keys)
        )
    )


async def count_failure(
    session: AsyncSession, scope: str, key_hash: bytes, now: datetime, forgotten_before: datetime
) -> int:
    """Count one more failure, from one again where the last is forgotten; answers the number."""
    counted = insert(LoginThrottle).values(scope=scope, key_hash=key_hash, failures=1, last_failed_at=now)
    counted = counted.on_conflict_do_update(
        index_elements=[LoginThrottle.scope, LoginThrottle.key_hash],
        set_={
            "failures": case((LoginThrottle.last_failed_at < forgotten_before, 1), else_=LoginThrottle.failures + 1),
            "last_failed_at": now,
        },
    )
    return (await session.execute(counted.returning(LoginThrottle.failures))).scalar_one()


async def block(session: AsyncSession, scope: str, key_hash: bytes, until: datetime) -> None:
    """Let the next attempt wait."""
    await session.execute(
        update(LoginThrottle)
        .where(LoginThrottle.scope == scope, LoginThrottle.key_hash == key_hash)
        .values(blocked_until=until)
    )


async def forget(session: AsyncSession, scope: str, key_hash: bytes) -> None:
    """Begin to count anew."""
    await session.execute(delete(LoginThrottle).where(LoginThrottle.scope == scope, LoginThrottle.key_hash == key_hash))


async def forget_before(session: AsyncSession, moment: datetime) -> None:
    """Delete what counts for nothing any more."""
    await session.execute(
        delete(LoginThrottle).where(LoginThrottle.last_failed_at < moment).execution_options(synchronize_session=False)
    )
