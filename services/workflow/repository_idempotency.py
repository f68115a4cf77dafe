"""SQL of remembered answers."""

from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow.models import IdempotencyKey

KEPT_FOR: Final = timedelta(hours=24)
"""How long a key is remembered; later it is a new one."""


class Remembered(NamedTuple):
    """The first request with a key, and how it was answered."""

    fingerprint: bytes
    status: int
    etag: str | None
    body: bytes


async def claim(session: AsyncSession, user_id: UUID, key: str, fingerprint: bytes) -> bool:
    """Take the key for this transaction; False where it was used before. Waits for one that uses it just now."""
    await session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.user_id == user_id, IdempotencyKey.created_at < func.now() - KEPT_FOR
        )
    )
    statement = (
        insert(IdempotencyKey)
        .values(user_id=user_id, key=key, fingerprint=fingerprint)
        .on_conflict_do_nothing()
        .returning(IdempotencyKey.key)
    )
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def remembered(session: AsyncSession, user_id: UUID, key: str) -> Remembered:
    """What was answered to a key that is taken."""
    query = select(IdempotencyKey.fingerprint, IdempotencyKey.status, IdempotencyKey.etag, IdempotencyKey.body).where(
        IdempotencyKey.user_id == user_id, IdempotencyKey.key == key
    )
    row = (await session.execute(query)).one()
    return Remembered(row.fingerprint, row.status, row.etag, row.body)


async def remember(session: AsyncSession, user_id: UUID, key: str, status: int, etag: str | None, body: bytes) -> None:
    """Keep the answer, in the transaction that claimed the key."""
    await session.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.user_id == user_id, IdempotencyKey.key == key)
        .values(status=status, etag=etag, body=body)
    )
