"""SQL of comments."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow.models import Comment

Key = tuple[datetime, UUID]
"""Where a comment stands in the list: created_at and id, the newest first."""


async def store(session: AsyncSession, comment: Comment) -> None:
    """Write a new comment now."""
    session.add(comment)
    await session.flush()


async def page(session: AsyncSession, entity_id: UUID, after: Key | None, limit: int) -> Sequence[Comment]:
    """Comments on any detection of the entity after a key, at most so many."""
    query = (
        select(Comment)
        .where(Comment.entity_id == entity_id)
        .order_by(Comment.created_at.desc(), Comment.id.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(Comment.created_at, Comment.id) < tuple_(*after))
    return (await session.execute(query)).scalars().all()
