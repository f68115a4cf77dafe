"""SQL of what each user has read: a watermark, and single events above it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import CursorResult, exists, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity.models import ActivityEvent
from services.activity.repository_filters import FeedFilters, Values, conditions
from shared.db import AnySession, raw_connection


@dataclass(frozen=True, slots=True)
class ReadState:
    """How far a user has read, as of one moment. ``head`` is the position of the feed's last event."""

    user_id: UUID
    head: int
    watermark: int
    unread: int


# One statement, one snapshot: the three numbers belong together.
_STATE: Final = """
    SELECT head.feed_position AS head, mark.position AS watermark,
           head.feed_position - mark.position - (
               SELECT count(*) FROM feed_reads
               WHERE user_id = $1 AND feed_reads.position > mark.position
                 AND feed_reads.position <= head.feed_position
           ) AS unread
    FROM audit_head AS head
    CROSS JOIN LATERAL (
        SELECT coalesce(max(position), 0) AS position FROM feed_read_watermarks WHERE user_id = $1
    ) AS mark
"""
_HEAD: Final = "SELECT feed_position FROM audit_head"
_RAISE_WATERMARK = text(
    """
    INSERT INTO feed_read_watermarks AS mark (user_id, position) VALUES (:user_id, :position)
    ON CONFLICT (user_id) DO UPDATE SET position = excluded.position WHERE mark.position < excluded.position
    """
)
_FORGET_BELOW = text("DELETE FROM feed_reads WHERE user_id = :user_id AND position <= :position")

_LOCK_SWEEP = text("SELECT position FROM feed_read_sweep FOR UPDATE")
_SWEEP = text(
    """
    UPDATE activity_events SET read = TRUE
    WHERE NOT read AND position > :after AND position <= :up_to
    """
)
_HIGHEST_WATERMARK = text("SELECT coalesce(max(position), 0) FROM feed_read_watermarks")
# Locked in one order, as `_mark` does it.
_FLAG = text(
    """
    WITH chosen AS MATERIALIZED (
        SELECT user_id, event_id FROM feed_reads WHERE NOT flagged LIMIT :limit FOR UPDATE SKIP LOCKED
    ),
    unread AS MATERIALIZED (
        SELECT id FROM activity_events
        WHERE id IN (SELECT event_id FROM chosen) AND NOT read ORDER BY position FOR UPDATE
    ),
    shown AS (
        UPDATE activity_events SET read = TRUE WHERE id IN (SELECT id FROM unread)
    )
    UPDATE feed_reads SET flagged = TRUE
    FROM chosen WHERE feed_reads.user_id = chosen.user_id AND feed_reads.event_id = chosen.event_id
    """
)
# As long as what was read singly follows the watermark without a hole, the n-th of it has the n-th position after it.
_FIRST_HOLE = text(
    """
    SELECT expected FROM (
        SELECT position, :watermark + row_number() OVER (ORDER BY position) AS expected
        FROM feed_reads WHERE user_id = :user_id AND position > :watermark
    ) AS numbered
    WHERE position <> expected ORDER BY position LIMIT 1
    """
)
_LAST_READ = text("SELECT coalesce(max(position), 0) FROM feed_reads WHERE user_id = :user_id")
_MOVE_SWEEP = text("UPDATE feed_read_sweep SET position = :position")


async def state(session: AnySession, user_id: UUID) -> ReadState:
    """How far the user has read."""
    row = await (await raw_connection(session)).fetchrow(_STATE, user_id)
    return ReadState(user_id, row["head"], row["watermark"], row["unread"])


async def head(session: AnySession) -> int:
    """The position of the feed's last event, 0 for an empty feed."""
    position: int = await (await raw_connection(session)).fetchval(_HEAD)
    return position


async def raise_watermark(session: AsyncSession, user_id: UUID, position: int) -> None:
    """From now on the user has read everything up to this position; a lower one changes nothing."""
    await session.execute(_RAISE_WATERMARK, {"user_id": user_id, "position": position})
    await session.execute(_FORGET_BELOW, {"user_id": user_id, "position": position})


async def is_in_feed(session: AsyncSession, event_id: UUID) -> bool:
    """Whether there is such an event."""
    return (await session.execute(select(exists().where(ActivityEvent.id == event_id)))).scalar_one()


async def mark_ids(session: AsyncSession, reads: ReadState, event_ids: Sequence[UUID]) -> int:
    """Note that the user has read these events; answers for how many that is new."""
    values = Values()
    marked = await _note(session, reads, values, [f"e.id = ANY({values.put(event_ids)}::uuid[])"], flagged=True)
    # Locked in one order, so that two users who read the same events do not wait for each other in a circle.
    unread = (
        select(ActivityEvent.id)
        .where(
            ActivityEvent.id.in_(event_ids),
            ActivityEvent.position > reads.watermark,
            ActivityEvent.read.is_(False),
        )
        .order_by(ActivityEvent.position)
        .with_for_update()
    )
    await session.execute(update(ActivityEvent).where(ActivityEvent.id.in_(unread)).values(read=True))
    return marked


async def matching_up_to(session: AsyncSession, reads: ReadState, filters: FeedFilters, up_to: int) -> int:
    """The position up to which, from the user's watermark on, every event matches; ``up_to`` at most."""
    values = Values()
    matches = " AND ".join(conditions(filters, values))
    after, end = values.put(reads.watermark), values.put(up_to)
    statement = f"""
        SELECT coalesce(min(e.position) - 1, {end}) FROM activity_events AS e
        WHERE e.position > {after} AND e.position <= {end}::bigint AND ({matches}) IS NOT TRUE
    """  # noqa: S608 - constants
    found: int = await (await raw_connection(session)).fetchval(statement, *values)
    return found


async def mark_matching(session: AsyncSession, reads: ReadState, filters: FeedFilters, up_to: int) -> None:
    """Note that the user has read what matches, up to a position.

    It may be very many: `flag` lets `activity_events.read` follow.
    """
    values = Values()
    wanted = [*conditions(filters, values), f"e.position <= {values.put(up_to)}"]
    await _note(session, reads, values, wanted, flagged=False)


async def _note(
    session: AsyncSession, reads: ReadState, values: Values, wanted: Sequence[str], *, flagged: bool
) -> int:
    statement = f"""
        INSERT INTO feed_reads (user_id, event_id, position, flagged)
        SELECT {values.put(reads.user_id)}::uuid, e.id, e.position, {flagged} FROM activity_events AS e
        WHERE e.position > {values.put(reads.watermark)} AND {" AND ".join(wanted)}
        ON CONFLICT DO NOTHING
    """  # noqa: S608 - constants
    done: str = await (await raw_connection(session)).execute(statement, *values)
    return int(done.rpartition(" ")[2])


async def advance(session: AsyncSession, reads: ReadState) -> None:
    """Raise the watermark over what was read singly right above it, so that single reads stay few."""
    given = {"user_id": reads.user_id, "watermark": reads.watermark}
    hole = (await session.execute(_FIRST_HOLE, given)).scalar_one_or_none()
    if hole is None:
        hole = (await session.execute(_LAST_READ, {"user_id": reads.user_id})).scalar_one() + 1
    if hole - 1 > reads.watermark:
        await raise_watermark(session, reads.user_id, hole - 1)


async def flag(session: AsyncSession, limit: int) -> bool:
    """Let `activity_events.read` know of what was read by the filter; answers whether there is more."""
    return cast("CursorResult[Any]", await session.execute(_FLAG, {"limit": limit})).rowcount == limit


async def sweep(session: AsyncSession, limit: int) -> bool:
    """Let `activity_events.read` follow the highest watermark of all users by at most so many events.

    Answers whether there is more to do.
    """
    target: int = (await session.execute(_HIGHEST_WATERMARK)).scalar_one()
    swept: int = (await session.execute(_LOCK_SWEEP)).scalar_one()
    up_to = min(swept + limit, target)
    if up_to > swept:
        await session.execute(_SWEEP, {"after": swept, "up_to": up_to})
        await session.execute(_MOVE_SWEEP, {"position": up_to})
    return up_to < target
