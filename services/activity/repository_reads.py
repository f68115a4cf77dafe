"""SQL of what each user has read: a watermark, and above it a bit for each event.

Statements take the first position above the watermark apart: its block, and its place there. What a block says of
positions at or below the watermark does not count; it may be anything.

In which order what is locked, says `service_reads`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import CursorResult, exists, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity.models import BLOCK, ActivityEvent
from services.activity.repository_filters import FeedFilters, conditions
from shared.db import AnySession, Values, raw_connection


@dataclass(frozen=True, slots=True)
class ReadState:
    """How far a user has read, as of one moment. ``head`` is the position of the feed's last event."""

    user_id: UUID
    head: int
    watermark: int
    unread: int


# One statement, one snapshot: the three numbers belong together.
_STATE: Final = f"""
    SELECT head.feed_position AS head, mark.position AS watermark,
           head.feed_position - mark.position - (
               SELECT CAST(coalesce(sum(
                   CASE WHEN block > mark.above / {BLOCK} THEN count
                        ELSE bit_count(substring(bits FROM CAST(mark.above % {BLOCK} AS integer) + 1)) END
               ), 0) AS bigint)
               FROM feed_read_bits WHERE user_id = $1 AND block >= mark.above / {BLOCK}
           ) AS unread
    FROM audit_head AS head
    CROSS JOIN LATERAL (
        SELECT coalesce(max(position), 0) AS position, coalesce(max(position), 0) + 1 AS above
        FROM feed_read_watermarks WHERE user_id = $1
    ) AS mark
"""  # noqa: S608 - a constant
_HEAD: Final = "SELECT feed_position FROM audit_head"
# A row that is there is locked though nothing is changed: no version of it is written.
_LOCK_USER = text(
    """
    INSERT INTO feed_read_watermarks AS mark (user_id, position) VALUES (:user_id, 0)
    ON CONFLICT (user_id) DO UPDATE SET position = mark.position WHERE FALSE
    """
)
_RAISE_WATERMARK = text(
    """
    INSERT INTO feed_read_watermarks AS mark (user_id, position) VALUES (:user_id, :position)
    ON CONFLICT (user_id) DO UPDATE SET position = excluded.position WHERE mark.position < excluded.position
    """
)
_FORGET_BELOW = text(
    f"DELETE FROM feed_read_bits WHERE user_id = :user_id AND block < (CAST(:position AS bigint) + 1) / {BLOCK}"  # noqa: S608
)

_LOCK_SWEEP = text("SELECT position FROM feed_read_sweep FOR UPDATE SKIP LOCKED")
_SWEEP = text(
    """
    WITH taken AS MATERIALIZED (
        SELECT position FROM activity_events
        WHERE NOT read AND position > :after AND position <= :up_to FOR UPDATE SKIP LOCKED
    )
    UPDATE activity_events SET read = TRUE WHERE position = ANY(ARRAY(SELECT position FROM taken))
    """
)
# Up to what was passed by, which only a later statement sees.
_MOVE_SWEEP = text(
    """
    UPDATE feed_read_sweep SET position = coalesce(
        (SELECT min(position) - 1 FROM activity_events WHERE NOT read AND position > :after AND position <= :up_to),
        :up_to
    ) RETURNING position
    """
)
_HIGHEST_WATERMARK = text("SELECT coalesce(max(position), 0) FROM feed_read_watermarks")
_LOCK_UNFLAGGED = text(
    "SELECT user_id, block FROM feed_read_bits WHERE NOT flagged LIMIT :blocks FOR UPDATE SKIP LOCKED"
)
# A block that has an event which was passed by is looked at again.
_FLAG = text(
    f"""
    WITH chosen AS MATERIALIZED (
        SELECT user_id, block, bits
        FROM unnest(CAST(:user_ids AS uuid[]), CAST(:blocks AS bigint[])) AS locked (user_id, block)
        JOIN feed_read_bits USING (user_id, block)
    ),
    unread AS MATERIALIZED (
        SELECT chosen.user_id, block, event.position FROM chosen
        JOIN activity_events AS event
          ON event.position >= block * {BLOCK} AND event.position < (block + 1) * {BLOCK}
             AND get_bit(bits, CAST(event.position - block * {BLOCK} AS integer)) = 1
        WHERE NOT event.read
    ),
    taken AS MATERIALIZED (
        SELECT position FROM activity_events
        WHERE NOT read AND position = ANY(ARRAY(SELECT position FROM unread)) FOR UPDATE SKIP LOCKED
    ),
    shown AS (
        UPDATE activity_events SET read = TRUE WHERE position = ANY(ARRAY(SELECT position FROM taken))
    ),
    passed_by AS (
        SELECT user_id, block FROM unread WHERE position NOT IN (SELECT position FROM taken)
    )
    UPDATE feed_read_bits AS known SET flagged = TRUE
    FROM chosen WHERE known.user_id = chosen.user_id AND known.block = chosen.block
        AND (known.user_id, known.block) NOT IN (SELECT user_id, block FROM passed_by)
    """  # noqa: S608 - a constant
)
_FLAG_IDS = text(
    """
    WITH taken AS MATERIALIZED (
        SELECT id FROM activity_events
        WHERE NOT read AND id = ANY(:event_ids) AND position > :watermark FOR UPDATE SKIP LOCKED
    ),
    shown AS (
        UPDATE activity_events SET read = TRUE WHERE id IN (SELECT id FROM taken)
    )
    SELECT NOT EXISTS (
        SELECT FROM activity_events
        WHERE NOT read AND id = ANY(:event_ids) AND position > :watermark AND id NOT IN (SELECT id FROM taken)
    )
    """
)
# The first position above the watermark that is not read. As long as blocks follow each other and are full, the n-th of
# them is the n-th after the first; what lies at or below the watermark counts as read.
_ABOVE: Final = "CAST(:above AS bigint)"
_FIRST_UNREAD = text(
    f"""
    WITH known AS (
        SELECT block, {_ABOVE} / {BLOCK} + row_number() OVER (ORDER BY block) - 1 AS expected,
               CASE WHEN block = {_ABOVE} / {BLOCK}
                    THEN bits | ~ ((~ CAST(B'0' AS bit(1024))) >> CAST({_ABOVE} % {BLOCK} AS integer))
                    ELSE bits END AS bits
        FROM feed_read_bits WHERE user_id = :user_id AND block >= {_ABOVE} / {BLOCK}
    )
    SELECT coalesce(
        (SELECT greatest(
             {_ABOVE}, expected * {BLOCK} + CASE WHEN block = expected THEN position(B'0' IN bits) - 1 ELSE 0 END
         )
         FROM known WHERE block <> expected OR bit_count(bits) < {BLOCK} ORDER BY block LIMIT 1),
        (SELECT (max(block) + 1) * {BLOCK} FROM known),
        {_ABOVE}
    )
    """  # noqa: S608 - a constant
)


async def lock_user(session: AsyncSession, user_id: UUID) -> None:
    """Wait until nobody else marks for this user, and let nobody until the transaction ends.

    Statements after this one see everything that was marked before.
    """
    await session.execute(_LOCK_USER, {"user_id": user_id})


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
    given = {"event_ids": list(event_ids), "watermark": reads.watermark}
    flagged: bool = (await session.execute(_FLAG_IDS, given)).scalar_one()
    values = Values()
    return await _note(session, reads, values, [f"e.id = ANY({values.put(event_ids)}::uuid[])"], flagged=flagged)


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
    # In the order of blocks, as instances of before have it, which do not lock the user.
    statement = f"""
        WITH noted AS (
            INSERT INTO feed_read_bits AS known (user_id, block, bits, flagged)
            SELECT {values.put(reads.user_id)}::uuid, e.position / {BLOCK},
                   bit_or(set_bit(B'0'::bit({BLOCK}), (e.position % {BLOCK})::integer, 1)), {flagged}
            FROM activity_events AS e
            WHERE e.position > {values.put(reads.watermark)} AND {" AND ".join(wanted)}
            GROUP BY 2 ORDER BY 2
            ON CONFLICT (user_id, block) DO UPDATE
            SET bits = known.bits | excluded.bits, flagged = known.flagged AND excluded.flagged
            RETURNING new.count - coalesce(old.count, 0) AS more
        )
        SELECT coalesce(sum(more), 0) FROM noted
    """  # noqa: S608 - constants
    return int(await (await raw_connection(session)).fetchval(statement, *values))


async def advance(session: AsyncSession, reads: ReadState) -> None:
    """Raise the watermark over what was read singly right above it, so that little is kept above it."""
    given = {"user_id": reads.user_id, "above": reads.watermark + 1}
    first_unread: int = (await session.execute(_FIRST_UNREAD, given)).scalar_one()
    if first_unread - 1 > reads.watermark:
        await raise_watermark(session, reads.user_id, first_unread - 1)


async def flag(session: AsyncSession, limit: int) -> bool:
    """Let `activity_events.read` know of what was read by the filter, of about so many events.

    Waits for nobody: what others hold is left for later. Answers whether there is more to do at once.
    """
    blocks = max(1, limit // BLOCK)
    # By itself: the next statement sees every event that the bits tell of, also such as came while it was looked for.
    locked = (await session.execute(_LOCK_UNFLAGGED, {"blocks": blocks})).all()
    if not locked:
        return False
    given = {"user_ids": [row.user_id for row in locked], "blocks": [row.block for row in locked]}
    done = cast("CursorResult[Any]", await session.execute(_FLAG, given))
    return len(locked) == blocks and done.rowcount > 0


async def sweep(session: AsyncSession, limit: int) -> bool:
    """Let `activity_events.read` follow the highest watermark of all users by at most so many events.

    Waits for nobody: what others hold is left for later. Answers whether there is more to do at once.
    """
    target: int = (await session.execute(_HIGHEST_WATERMARK)).scalar_one()
    swept: int | None = (await session.execute(_LOCK_SWEEP)).scalar_one_or_none()
    if swept is None or swept >= target:
        return False
    given = {"after": swept, "up_to": min(swept + limit, target)}
    await session.execute(_SWEEP, given)
    reached: int = (await session.execute(_MOVE_SWEEP, given)).scalar_one()
    return swept < reached < target
