"""The feed, and what the caller has read of it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from services.activity import repository_reads, service_feed, service_reads
from services.activity.repository_filters import FeedFilters
from services.activity.schemas import FeedPage, FeedQuery, Marked, MarkRead, Unread
from shared.auth import Permission, User, require
from shared.db import DbReading, DbSession

router = APIRouter(prefix="/api/feed", tags=["Activity"])

Reader = Annotated[User, require(Permission.READ)]


@router.get("", response_model=FeedPage)
async def feed(user: Reader, session: DbReading, query: Annotated[FeedQuery, Query()]) -> Response:
    """What happened, newest first, as the caller has and has not read it; bursts folded on request."""
    page = await (service_feed.folded if query.grouped else service_feed.page)(session, user.id, query)
    # A model that is returned is validated once more on its way out.
    return Response(page.model_dump_json(), media_type="application/json")


@router.get("/unread-count")
async def unread_count(user: Reader, session: DbReading) -> Unread:
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
