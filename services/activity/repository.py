"""SQL of the feed: pages and counts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Row,
    Select,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity.models import ActivityEvent, FeedRead, KnownUser
from services.activity.repository_filters import Columns, FeedFilters, conditions
from services.activity.repository_reads import ReadState
from shared.pagination import COUNT_CAP

Place: TypeAlias = tuple[datetime, UUID]
"""Where an event stands in the feed: (created_at, id)."""

# With so few events above the user's watermark, looking at all of them beats searching the feed for the unread ones.
FEW_ABOVE_WATERMARK: Final = 5000

_events: Final = ActivityEvent.__table__


async def page(
    session: AsyncSession, filters: FeedFilters, reads: ReadState, *, unread: bool, before: Place | None, limit: int
) -> Sequence[Row[Any]]:
    """Events newest first, after the place ``before`` in that order; ``is_read`` is the caller's.

    ``user_name`` is the name that the actor had then, or the first that became known.
    """
    unread_for = reads if unread else None
    if unread and reads.head - reads.watermark <= FEW_ABOVE_WATERMARK:
        candidates = _newest(_above_watermark(reads), filters, before, limit, unread_for)
    elif len(filters.event_types) > 1 and filters.signal_id is None:
        # Each type has its index in the order of the feed; a rare type among frequent ones is found at once.
        by_type = [replace(filters, event_types=(event_type,)) for event_type in filters.event_types]
        parts = [_newest(_events, part, before, limit, unread_for) for part in by_type]
        candidates = union_all(*(select(part.subquery()) for part in parts)).subquery().select()
    else:
        candidates = _newest(_events, filters, before, limit, unread_for)
    found = candidates.subquery()
    statement = (
        select(found, is_read(found.c, reads).label("is_read"), name_then(found.c).label("user_name"))
        .order_by(found.c.created_at.desc(), found.c.id.desc())
        .limit(limit)
    )
    return (await session.execute(statement)).all()


async def stored_after(
    session: AsyncSession, position: int, up_to: int, filters: FeedFilters, reads: ReadState | None, limit: int
) -> Sequence[Row[Any]]:
    """Events in the order in which they were stored, after a position and up to another.

    ``is_read`` is that of the user whose reads are given; without them it is false, as of an event just stored.
    """
    read = false() if reads is None else is_read(_events.c, reads)
    statement = (
        select(_events, read.label("is_read"), name_then(_events.c).label("user_name"))
        .where(_events.c.position.between(position + 1, up_to), *conditions(_events.c, filters))
        .order_by(_events.c.position)
        .limit(limit)
    )
    return (await session.execute(statement)).all()


async def count(session: AsyncSession, filters: FeedFilters, reads: ReadState, *, unread: bool) -> int:
    """How many events there are, up to one more than the cap."""
    if filters.none:
        return min(reads.unread if unread else reads.head, COUNT_CAP + 1)
    few = unread and reads.head - reads.watermark <= FEW_ABOVE_WATERMARK
    source = _above_watermark(reads) if few else _events
    wanted = conditions(source.c, filters)
    if unread:
        wanted.append(~is_read(source.c, reads))
    some = select(literal(1)).select_from(source).where(*wanted).limit(COUNT_CAP + 1).subquery()
    return (await session.execute(select(func.count()).select_from(some))).scalar_one()


def _newest(
    source: FromClause, filters: FeedFilters, before: Place | None, limit: int, unread_for: ReadState | None
) -> Select[Any]:
    wanted = conditions(source.c, filters)
    if before is not None:
        wanted.append(tuple_(source.c.created_at, source.c.id) < tuple_(literal(before[0]), literal(before[1])))
    if unread_for is not None:
        wanted.append(~is_read(source.c, unread_for))
    return select(source).where(*wanted).order_by(source.c.created_at.desc(), source.c.id.desc()).limit(limit)


def _above_watermark(reads: ReadState) -> FromClause:
    """The events above the watermark as a table of its own.

    The offset is a fence: without it the planner may search the whole feed, newest first, for the few. The range has
    two ends, which the planner takes for narrow also where it does not know the values.
    """
    range_ = _events.c.position.between(reads.watermark + 1, reads.head)
    return select(_events).where(range_).offset(0).subquery()


def is_read(columns: Columns, reads: ReadState) -> ColumnElement[bool]:
    """Whether the user has read an event."""
    singly = exists().where(FeedRead.user_id == reads.user_id, FeedRead.event_id == columns.id)
    return or_(columns.position <= reads.watermark, singly)


def name_then(columns: Columns) -> ColumnElement[str | None]:
    """What the actor was called when the event happened, or first became known as."""
    distance = func.abs(func.extract("epoch", KnownUser.since - columns.created_at))
    return (
        select(KnownUser.name)
        .where(KnownUser.user_id == columns.user_id)
        .order_by(KnownUser.since > columns.created_at, distance)
        .limit(1)
        .scalar_subquery()
    )
