"""SQL of the feed: pages and counts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

from services.activity.models import BLOCK
from services.activity.repository_filters import FeedFilters, conditions
from services.activity.repository_reads import ReadState
from shared.db import AnySession, Values, raw_connection
from shared.pagination import COUNT_CAP

Place: TypeAlias = tuple[datetime, UUID]
"""Where an event stands in the feed: (created_at, id)."""

Record: TypeAlias = Any
"""A row by the names of its columns."""

# So few unread events are looked up one by one; that beats searching the feed for them.
_FEW: Final = 5000

_NEWEST_FIRST: Final = "ORDER BY e.created_at DESC, e.id DESC"
# What the actor was called when the event happened, or first became known as.
_NAME_THEN: Final = """
    (SELECT known.name FROM known_users AS known WHERE known.user_id = e.user_id
     ORDER BY known.since > e.created_at, abs(extract(epoch FROM known.since - e.created_at)) LIMIT 1)
"""
_SHOWN: Final = (
    "e.id, e.position, e.event_type::text AS event_type, e.signal_id, e.user_id, e.payload::text AS payload, "
    f"e.created_at, e.summary, e.assignee_id, {_NAME_THEN} AS user_name"
)


async def page(
    session: AnySession, filters: FeedFilters, reads: ReadState, *, unread: bool, before: Place | None, limit: int
) -> Sequence[Record]:
    """Events newest first, after the place ``before`` in that order; ``is_read`` is the caller's.

    ``user_name`` is the name that the actor had then, or the first that became known.
    """
    values = Values()
    read = is_read(reads, values)
    more = [f"NOT {read}"] if unread else []
    if before is not None:
        more.append(f"(e.created_at, e.id) < ({values.put(before[0])}, {values.put(before[1])})")

    def newest(source: str, part: FeedFilters) -> str:
        return (
            f"SELECT * FROM {source} AS e WHERE {_all([*conditions(part, values), *more])} "  # noqa: S608 - constants
            f"{_NEWEST_FIRST} LIMIT {limit:d}"
        )

    if unread and few_unread(reads):
        candidates = newest(_unread(reads, values), filters)
    elif len(filters.event_types) > 1 and filters.signal_id is None:
        # Each type has its index in the order of the feed; a rare type among frequent ones is found at once.
        parts = [replace(filters, event_types=(event_type,)) for event_type in filters.event_types]
        candidates = " UNION ALL ".join(f"({newest('activity_events', part)})" for part in parts)
    else:
        candidates = newest("activity_events", filters)
    return await _fetch(
        session,
        f"SELECT {_SHOWN}, {read} AS is_read FROM ({candidates}) AS e {_NEWEST_FIRST} LIMIT {limit:d}",  # noqa: S608
        values,
    )


async def stored_after(
    session: AnySession, position: int, up_to: int, filters: FeedFilters, reads: ReadState | None, limit: int
) -> Sequence[Record]:
    """Events in the order in which they were stored, after a position and up to another.

    ``is_read`` is that of the user whose reads are given; without them it is false, as of an event just stored.
    """
    values = Values()
    read = "false" if reads is None else is_read(reads, values)
    range_ = f"e.position BETWEEN {values.put(position + 1)} AND {values.put(up_to)}"
    return await _fetch(
        session,
        f"SELECT {_SHOWN}, {read} AS is_read FROM activity_events AS e "  # noqa: S608 - constants
        f"WHERE {_all([range_, *conditions(filters, values)])} ORDER BY e.position LIMIT {limit:d}",
        values,
    )


async def by_ids(session: AnySession, event_ids: Sequence[UUID], reads: ReadState) -> dict[UUID, Record]:
    """These events as the feed shows them."""
    values = Values()
    found = await _fetch(
        session,
        f"SELECT {_SHOWN}, {is_read(reads, values)} AS is_read FROM activity_events AS e "  # noqa: S608 - constants
        f"WHERE e.id = ANY({values.put(event_ids)}::uuid[])",
        values,
    )
    return {record["id"]: record for record in found}


async def count(session: AnySession, filters: FeedFilters, reads: ReadState, *, unread: bool) -> int:
    """How many events there are, up to one more than the cap."""
    if filters.none:
        return min(reads.unread if unread else reads.head, COUNT_CAP + 1)
    values = Values()
    source = _unread(reads, values) if unread and few_unread(reads) else "activity_events"
    wanted = conditions(filters, values)
    if unread:
        wanted.append(f"NOT {is_read(reads, values)}")
    # What is unread is new mostly: counting from the old end would first pass by all that was read.
    order = _NEWEST_FIRST if unread and len(filters.event_types) <= 1 else ""
    some = f"SELECT FROM {source} AS e WHERE {_all(wanted)} {order} LIMIT {COUNT_CAP + 1:d}"
    found: int = (await _fetch(session, f"SELECT count(*) AS count FROM ({some}) AS found", values))[0]["count"]  # noqa: S608
    return found


def is_read(reads: ReadState, values: Values) -> str:
    """Whether the user has read an event ``e``."""
    return (
        f"(e.position <= {values.put(reads.watermark)} OR EXISTS (SELECT FROM feed_read_bits AS noted "
        f"WHERE noted.user_id = {values.put(reads.user_id)} AND noted.block = e.position / {BLOCK} "
        f"AND {noted_bit('e.position')} = 1))"
    )


def noted_bit(position: str) -> str:
    """1 where ``feed_read_bits AS noted``, the row of the position's block, has it; 0 also without a row."""
    return f"coalesce(get_bit(noted.bits, ({position} % {BLOCK})::integer), 0)"


def few_unread(reads: ReadState) -> bool:
    """Whether it is cheaper to begin with all that the user has not read, which `unread_positions` tells."""
    return reads.unread <= _FEW


def unread_positions(reads: ReadState, values: Values) -> str:
    """The positions that the user has not read, as an array; only blocks that hold such are looked into."""
    above, head = values.put(reads.watermark + 1), values.put(reads.head)
    return f"""ARRAY(
        SELECT place FROM generate_series({above}::bigint / {BLOCK}, {head}::bigint / {BLOCK}) AS every(block)
        LEFT JOIN feed_read_bits AS noted ON noted.user_id = {values.put(reads.user_id)} AND noted.block = every.block
        CROSS JOIN LATERAL generate_series(
            greatest({above}, every.block * {BLOCK}), least({head}, every.block * {BLOCK} + {BLOCK - 1})
        ) AS place
        WHERE noted.count IS DISTINCT FROM {BLOCK}
          AND {noted_bit("place")} = 0
    )"""  # noqa: S608 - constants


def _unread(reads: ReadState, values: Values) -> str:
    """What the user has not read as a table of its own.

    The offset is a fence: without it the planner may search the whole feed, newest first, for the few.
    """
    return f"(SELECT * FROM activity_events WHERE position = ANY({unread_positions(reads, values)}) OFFSET 0)"  # noqa: S608


def _all(parts: Sequence[str]) -> str:
    return " AND ".join(parts) or "true"


async def _fetch(session: AnySession, statement: str, values: Values) -> Sequence[Record]:
    found: Sequence[Record] = await (await raw_connection(session)).fetch(statement, *values)
    return found
