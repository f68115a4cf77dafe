"""A feed of several blocks of events, and what users have read of it."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity import repository, repository_reads
from services.activity.models import BLOCK
from services.activity.repository_filters import FeedFilters
from shared.db import AnySession, SessionMaker
from tests.support.service import user_id

USER, OTHER = user_id("viewer"), user_id("admin")
SIZE = 3 * BLOCK + 100
THIRDS = FeedFilters(user_id=OTHER)
"""Every third event is by this user."""


def event_id(position: int) -> UUID:
    """Of the event at a position."""
    return UUID(int=position)


async def fill(committing: SessionMaker) -> None:
    """Show events at the positions 1 to `SIZE`."""
    async with committing() as session, session.begin():
        await session.execute(
            text(
                "INSERT INTO activity_events "
                "(id, event_type, user_id, payload, created_at, position, source, subject, sequence, type) "
                "SELECT CAST(lpad(to_hex(n), 32, '0') AS uuid), 'comment', "
                "CASE WHEN n % 3 = 0 THEN CAST(:other AS uuid) END, '{}', "
                "timestamptz '2026-01-01' + n * interval '1 second', n, 'x', gen_random_uuid(), 1, 'x' "
                "FROM generate_series(1, CAST(:size AS integer)) AS n"
            ),
            {"other": OTHER, "size": SIZE},
        )
        await session.execute(text("UPDATE audit_head SET feed_position = :size"), {"size": SIZE})


async def unread_positions(session: AnySession, user: UUID = USER) -> list[int]:
    """As the feed's pages tell them, which must be in line with the count."""
    reads = await repository_reads.state(session, user)
    rows = await repository.page(session, FeedFilters(), reads, unread=True, before=None, limit=SIZE)
    assert len(rows) == reads.unread
    return [row["position"] for row in reversed(rows)]


async def flagged(session: AsyncSession) -> Sequence[int]:
    """The positions of events that anybody has read."""
    return (await session.execute(text("SELECT position FROM activity_events WHERE read ORDER BY 1"))).scalars().all()
