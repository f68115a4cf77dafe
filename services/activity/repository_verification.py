"""SQL that reads the audit log's chain of hashes, a piece at a time."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_PIECE: Final = 5000


@dataclass(frozen=True, slots=True)
class Link:
    """One row of the audit log: the hashes that it holds, and the one that its columns give."""

    position: int
    previous_hash: bytes
    hash: bytes
    computed: bytes


_END = text("SELECT audit_position, last_hash FROM audit_head")
_LINKS = text(
    """
    SELECT position, previous_hash, hash,
           sha256(previous_hash || audit_content_v1(position, event_id, topic, source, subject, sequence, type, time,
                                                    actor_id, feed_type, recorded_at, envelope)) AS computed
    FROM audit_log
    WHERE position > :after AND position <= :up_to
    ORDER BY position LIMIT :limit
    """
)


async def end(session: AsyncSession) -> tuple[int, bytes]:
    """The last position and hash, as whoever appended last noted them beside the log."""
    row = (await session.execute(_END)).one()
    return row.audit_position, bytes(row.last_hash)


async def links(session: AsyncSession, up_to: int) -> AsyncIterator[Link]:
    """Every row up to a position, in order, in constant memory."""
    after = 0
    while True:
        parameters = {"after": after, "up_to": up_to, "limit": _PIECE}
        rows = (await session.execute(_LINKS, parameters)).all()
        for row in rows:
            yield Link(row.position, bytes(row.previous_hash), bytes(row.hash), bytes(row.computed))
        if len(rows) < _PIECE:
            return
        after = rows[-1].position
