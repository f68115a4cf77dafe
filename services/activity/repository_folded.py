"""SQL of the grouped feed: pages of groups, whatever number of events they stand for."""

from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Row, and_, case, exists, func, literal, select, tuple_
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity.models import ActivityEvent, FeedGroup
from services.activity.repository import FEW_ABOVE_WATERMARK, Place, is_read, name_then
from services.activity.repository_filters import FeedFilters
from services.activity.repository_reads import ReadState
from shared.pagination import COUNT_CAP

_events: Final = ActivityEvent.__table__
_groups: Final = FeedGroup.__table__


async def page(
    session: AsyncSession, filters: FeedFilters, reads: ReadState, *, unread: bool, before: Place | None, limit: int
) -> Sequence[Row[Any]]:
    """Groups newest first by the event that opened them, with ``unread_count`` for the user."""
    wanted = _conditions(filters, reads, unread=unread)
    if before is not None:
        wanted.append(tuple_(_groups.c.created_at, _groups.c.id) < tuple_(literal(before[0]), literal(before[1])))
    newest = (
        select(_groups).where(*wanted).order_by(_groups.c.created_at.desc(), _groups.c.id.desc()).limit(limit)
    ).subquery()
    not_read = (
        select(func.count())
        .select_from(_events)
        .where(_events.c.group_id == newest.c.id, _events.c.position > reads.watermark, ~is_read(_events.c, reads))
        .correlate(newest)
        .scalar_subquery()
    )
    # Of groups that the watermark covers whole, which most are, no event is looked at.
    unread_count = case((newest.c.last_position <= reads.watermark, 0), else_=not_read)
    statement = select(newest, sql_cast(unread_count, Integer).label("unread_count")).order_by(
        newest.c.created_at.desc(), newest.c.id.desc()
    )
    return (await session.execute(statement)).all()


async def count(session: AsyncSession, filters: FeedFilters, reads: ReadState, *, unread: bool) -> int:
    """How many groups there are, up to one more than the cap."""
    some = select(literal(1)).select_from(_groups).where(*_conditions(filters, reads, unread=unread))
    return (await session.execute(select(func.count()).select_from(some.limit(COUNT_CAP + 1).subquery()))).scalar_one()


async def examples(session: AsyncSession, event_ids: Collection[UUID], reads: ReadState) -> dict[UUID, Row[Any]]:
    """These events as the feed shows them."""
    statement = select(
        _events, is_read(_events.c, reads).label("is_read"), name_then(_events.c).label("user_name")
    ).where(_events.c.id.in_(event_ids))
    return {row.id: row for row in await session.execute(statement)}


def _conditions(filters: FeedFilters, reads: ReadState, *, unread: bool) -> list[ColumnElement[bool]]:
    """The filters on groups: all events of one are of one type and by one person."""
    found: list[ColumnElement[bool]] = []
    if filters.event_types:
        found.append(_groups.c.event_type.in_(filters.event_types))
    if filters.user_id is not None:
        found.append(_groups.c.user_id == filters.user_id)
    if filters.since is not None:
        found.append(_groups.c.created_at >= filters.since)
    if filters.until is not None:
        found.append(_groups.c.created_at < filters.until)
    if unread:
        found.append(_has_unread(reads))
    return found


def _has_unread(reads: ReadState) -> ColumnElement[bool]:
    above = and_(_events.c.position > reads.watermark, ~is_read(_events.c, reads))
    if reads.head - reads.watermark <= FEW_ABOVE_WATERMARK:
        # Looking at the few events above the watermark beats searching all groups for theirs.
        return _groups.c.id.in_(select(_events.c.group_id).where(above, _events.c.position <= reads.head))
    own = exists().where(_events.c.group_id == _groups.c.id, above).correlate(_groups)
    return and_(_groups.c.last_position > reads.watermark, own)
