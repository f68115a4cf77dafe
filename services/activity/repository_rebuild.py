"""SQL that makes the feed again from the audit log, a range of the log at a time, while both are in use.

Every step runs under the lock of `audit_head`. Rows are mended where they stand: nobody sees an empty feed, and what is
right already is not written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import CursorResult, text
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity.models import BLOCK
from services.activity.repository_groups import AUDITED, FEED_COLUMNS, FEED_ROW, FEED_TYPES, SIGNAL_TOPICS

_COLUMNS: Final = [name.strip() for name in FEED_COLUMNS.split(",")]
_MENDED: Final = [name for name in _COLUMNS if name != "id"]
_IN_RANGE: Final = "position > :after AND position <= :up_to AND feed_type = ANY(CAST(:feed_types AS text[]))"

# Rows that no entry of the log stands behind, whoever put them there.
_DROP_INVENTED: Final = text(
    """
    DELETE FROM activity_events AS shown
    WHERE position > :after AND position <= :up_to AND NOT EXISTS (
        SELECT FROM audit_log
        WHERE audit_log.subject = shown.subject AND audit_log.source = shown.source
          AND audit_log.sequence = shown.sequence AND audit_log.event_id = shown.id
          AND audit_log.snapshot_id = '00000000-0000-0000-0000-000000000000'
          AND audit_log.feed_type = ANY(CAST(:feed_types AS text[]))
    )
    """
)
_HOLES: Final = text(
    """
    SELECT before + 1 AS first, position - 1 AS last
    FROM (
        SELECT position, lag(position, 1, 0) OVER (ORDER BY position) AS before
        FROM (SELECT position FROM activity_events UNION ALL SELECT feed_position + 1 FROM audit_head) AS taken
    ) AS steps
    WHERE position > before + 1
    ORDER BY first
    """
)
_MEND: Final = text(
    f"""
    UPDATE activity_events AS shown SET ({", ".join(_MENDED)}) = ({", ".join(f"told.{name}" for name in _MENDED)})
    FROM (
        SELECT {FEED_ROW} FROM {AUDITED} WHERE {_IN_RANGE}
    ) AS told ({FEED_COLUMNS})
    WHERE shown.id = told.id
      AND ({", ".join(f"shown.{name}" for name in _MENDED)})
          IS DISTINCT FROM ({", ".join(f"told.{name}" for name in _MENDED)})
    """  # noqa: S608 - names of columns
)
_MISSING: Final = text(
    f"""
    SELECT position FROM audit_log
    WHERE {_IN_RANGE} AND NOT EXISTS (SELECT FROM activity_events WHERE activity_events.id = audit_log.event_id)
    ORDER BY position
    """  # noqa: S608
)
_PUT_BACK: Final = text(
    f"""
    INSERT INTO activity_events ({FEED_COLUMNS}, position, read)
    SELECT {FEED_ROW}, place.feed_position,
           place.feed_position <= (SELECT coalesce(max(position), 0) FROM feed_read_watermarks)
               OR EXISTS (
                   SELECT FROM feed_read_bits WHERE block = place.feed_position / {BLOCK}
                   AND get_bit(bits, CAST(place.feed_position % {BLOCK} AS integer)) = 1
               )
    FROM {AUDITED}
    JOIN unnest(CAST(:positions AS bigint[]), CAST(:feed_positions AS bigint[])) AS place (position, feed_position)
      USING (position)
    """  # noqa: S608
)
_EXTEND: Final = text("UPDATE audit_head SET feed_position = :feed_position RETURNING pg_notify('activity_feed', '')")


@dataclass(frozen=True, slots=True)
class Hole:
    """A run of feed positions that no event has, both ends included."""

    first: int
    last: int


async def holes(session: AsyncSession) -> list[Hole]:
    """Where the feed lacks events, in order."""
    return [Hole(row.first, row.last) for row in await session.execute(_HOLES)]


async def drop_invented(session: AsyncSession, after: int, up_to: int) -> int:
    """Delete events in a range of feed positions that the log does not have; answers how many."""
    return await _changed(session, _DROP_INVENTED, {"after": after, "up_to": up_to, "feed_types": FEED_TYPES})


async def mend(session: AsyncSession, after: int, up_to: int) -> int:
    """Give shown events in a range of the log what the log says; answers how many differed."""
    given = {"after": after, "up_to": up_to, "feed_types": FEED_TYPES, "signal_topics": SIGNAL_TOPICS}
    return await _changed(session, _MEND, given)


async def missing(session: AsyncSession, after: int, up_to: int) -> list[int]:
    """Positions in the log of entries in a range that the feed should show and does not."""
    return list((await session.execute(_MISSING, {"after": after, "up_to": up_to, "feed_types": FEED_TYPES})).scalars())


async def put_back(session: AsyncSession, positions: Sequence[int], feed_positions: Sequence[int]) -> None:
    """Show these entries of the log at these positions of the feed, as read as users have read them."""
    given = {"positions": positions, "feed_positions": feed_positions, "signal_topics": SIGNAL_TOPICS}
    await session.execute(_PUT_BACK, given)


async def extend(session: AsyncSession, feed_position: int) -> None:
    """Move the feed's end, and let streams hear of it."""
    await session.execute(_EXTEND, {"feed_position": feed_position})


async def _changed(session: AsyncSession, statement: Any, given: dict[str, Any]) -> int:
    return cast("CursorResult[Any]", await session.execute(statement, given)).rowcount
