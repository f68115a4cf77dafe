"""The feed, and what the caller has read of it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from services.activity import repository, repository_reads, service_reads
from services.activity.repository_filters import FeedFilters
from services.activity.schemas import FeedEvent, FeedPage, FeedQuery, Marked, MarkRead, Unread
from shared.auth import Permission, User, require
from shared.db import DbSession
from shared.pagination import COUNT_CAP, decode_cursor, encode_cursor

router = APIRouter(prefix="/api/feed", tags=["Activity"])

Reader = Annotated[User, require(Permission.READ)]


@router.get("")
async def feed(user: Reader, session: DbSession, query: Annotated[FeedQuery, Query()]) -> FeedPage:
    """What happened, newest first, as the caller has and has not read it."""
    before = None if query.cursor is None else decode_cursor(query.cursor, tuple[datetime, UUID])
    filters, unread = query.chosen(), query.unread
    reads = await repository_reads.state(session, user.id)
    rows = await repository.page(session, filters, reads, unread=unread, before=before, limit=query.limit + 1)
    total = await repository.count(session, filters, reads, unread=unread)
    shown, has_more = rows[: query.limit], len(rows) > query.limit
    return FeedPage(
        events=[FeedEvent.of(row) for row in shown],
        cursor=encode_cursor(shown[-1].created_at, shown[-1].id) if has_more else None,
        has_more=has_more,
        total_count=min(total, COUNT_CAP),
        total_is_capped=total > COUNT_CAP,
        position=reads.head,
    )


@router.get("/unread-count")
async def unread_count(user: Reader, session: DbSession) -> Unread:
    """How many events the caller has not read."""
    reads = await repository_reads.state(session, user.id)
    return Unread(unread_count=reads.unread, position=reads.head)


@router.post("/mark-read")
async def mark_read(user: Reader, session: DbSession, body: MarkRead) -> Marked:
    """Mark events as read by the caller: some by id, or all that match the filters up to a position."""
    if body.ids is not None:
        marked, reads = await service_reads.mark_some(session, user.id, body.ids)
    else:
        filters = body.filters.chosen() if body.filters else FeedFilters()
        marked, reads = await service_reads.mark_all(session, user.id, filters, body.up_to_position or 0)
    return Marked(marked=marked, unread_count=reads.unread, position=reads.head)


@router.post("/{event_id}/mark-read")
async def mark_one_read(user: Reader, session: DbSession, event_id: UUID) -> Marked:
    """Mark one event as read by the caller; again changes nothing."""
    marked, reads = await service_reads.mark_one(session, user.id, event_id)
    return Marked(marked=marked, unread_count=reads.unread, position=reads.head)
