"""Marking as read, for one user at a time, and what follows for everybody from it.

What locks what, so that nobody waits in a circle:

1. Who marks for a user locks the user's row in `feed_read_watermarks` before anything else, also before looking how far
   the user has read. A user's marks come one after the other, and each counts exactly what it has added.
2. `activity_events.read` follows without waiting. Events, blocks of bits to be flagged and the row of the sweep that
   somebody else holds are passed by (SKIP LOCKED), and what was passed by is left to the worker.
3. Blocks of bits are written under their user's lock. Who waits for one all the same waits for somebody who flags it,
   and by the second rule they do not wait: nothing that could wait comes after flagging in a transaction.
4. What makes the feed (recording, groups, `rebuild`) holds the row of `audit_head`, and alone waits for events. It
   locks nothing else that is named here, and nobody who marks waits for it.
"""

from dataclasses import replace
from typing import Final
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity import repository_reads as reads_repository
from services.activity.repository_filters import FeedFilters
from services.activity.repository_reads import ReadState
from shared.db import SessionMaker
from shared.errors import NotFoundError
from shared.supervision import look_again

_SWEEP_STEP: Final = 5000
_SWEEP_SECONDS: Final = 1.0


async def mark_one(session: AsyncSession, user_id: UUID, event_id: UUID) -> tuple[int, ReadState]:
    """Mark one event; answers how many became read by it (0 or 1) and where the user stands now.

    Raises:
        NotFoundError: for an event that is not in the feed.
    """
    if not await reads_repository.is_in_feed(session, event_id):
        raise NotFoundError("There is no such event in the feed.")
    return await mark_some(session, user_id, [event_id])


async def mark_some(session: AsyncSession, user_id: UUID, event_ids: list[UUID]) -> tuple[int, ReadState]:
    """Mark events; ids that are not in the feed, and events that the user has read, change nothing."""
    await reads_repository.lock_user(session, user_id)
    before = await reads_repository.state(session, user_id)
    marked = await reads_repository.mark_ids(session, before, event_ids)
    await reads_repository.advance(session, before)
    return marked, await reads_repository.state(session, user_id)


async def mark_all(session: AsyncSession, user_id: UUID, filters: FeedFilters, up_to: int) -> tuple[int, ReadState]:
    """Mark all events that match the filters up to a position; what comes later stays unread.

    A position beyond the end of the feed is the end as it is now. As far as everything matches, which without filters
    is all of it, one number per user is moved, however many events lie below it; only the rest is noted, as bits.
    """
    await reads_repository.lock_user(session, user_id)
    before = await reads_repository.state(session, user_id)
    up_to = min(up_to, before.head)
    covered = up_to
    if not filters.none:
        covered = await reads_repository.matching_up_to(session, before, filters, up_to)
    moved = replace(before, watermark=max(before.watermark, covered))
    if moved.watermark > before.watermark:
        await reads_repository.raise_watermark(session, user_id, moved.watermark)
    if covered < up_to:
        await reads_repository.mark_matching(session, moved, filters, up_to)
    await reads_repository.advance(session, moved)
    # Last: see the third rule.
    await reads_repository.sweep(session, _SWEEP_STEP)
    if covered < up_to:
        await reads_repository.flag(session, _SWEEP_STEP)
    after = await reads_repository.state(session, user_id)
    return (before.unread - before.head) - (after.unread - after.head), after


async def follow_watermarks(app: FastAPI) -> None:
    """Keep `activity_events.read` true for what users have marked by the thousand; runs as long as the service."""
    session_maker: SessionMaker = app.state.session_maker

    async def look() -> bool:
        async with session_maker() as session, session.begin():
            return await follow(session)

    await look_again("read flags", look, _SWEEP_SECONDS)


async def follow(session: AsyncSession) -> bool:
    """Take one step of that; answers whether there is more to do at once."""
    more = await reads_repository.sweep(session, _SWEEP_STEP)
    return await reads_repository.flag(session, _SWEEP_STEP) or more
