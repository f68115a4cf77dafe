"""SQL of comments."""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow.models import Comment
from shared.db import AnySession, raw_connection

Key = tuple[datetime, UUID]
"""Where a comment stands in the list: created_at and id, the newest first."""


async def store(session: AsyncSession, comment: Comment) -> None:
    """Write a new comment now."""
    session.add(comment)
    await session.flush()


class CommentRow(NamedTuple):
    """What is shown of a `Comment`, by the names of its columns."""

    id: UUID
    signal_id: UUID
    author_id: UUID
    author_name: str
    text: str
    created_at: datetime


# One row for each comment; for a known signal without any, one without a comment.
_PAGE: Final = """
    SELECT {columns} FROM known_signals AS s LEFT JOIN LATERAL (
        SELECT {columns} FROM comments AS c WHERE c.entity_id = s.entity_id {after}
        ORDER BY c.created_at DESC, c.id DESC LIMIT $2
    ) AS c ON true
    WHERE s.signal_id = $1 ORDER BY c.created_at DESC, c.id DESC
"""
_COLUMNS: Final = ", ".join(f"c.{name}" for name in CommentRow._fields)
_FIRST_PAGE: Final = _PAGE.format(columns=_COLUMNS, after="")
_NEXT_PAGE: Final = _PAGE.format(columns=_COLUMNS, after="AND (c.created_at, c.id) < ($3, $4)")


async def page(session: AnySession, signal_id: UUID, after: Key | None, limit: int) -> list[CommentRow] | None:
    """Comments on any detection of the signal's entity after a key, at most so many; None for an unknown signal."""
    connection = await raw_connection(session)
    if after is None:
        records = await connection.fetch(_FIRST_PAGE, signal_id, limit)
    else:
        records = await connection.fetch(_NEXT_PAGE, signal_id, limit, *after)
    if not records:
        return None
    return [CommentRow(*record) for record in records if record["id"] is not None]
