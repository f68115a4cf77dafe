"""Pages of the feed: event by event, or with bursts folded."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from services.activity import repository, repository_folded, repository_reads
from services.activity.repository import Record
from services.activity.schemas import FeedEvent, FeedGroup, FeedPage, FeedQuery, sentence_of_group
from shared.db import AnySession
from shared.pagination import COUNT_CAP, cut, decode_cursor


async def page(session: AnySession, user_id: UUID, query: FeedQuery) -> FeedPage:
    """Events, the newest first."""
    filters, unread = query.chosen(), query.unread
    reads = await repository_reads.state(session, user_id)
    rows = await repository.page(session, filters, reads, unread=unread, before=_before(query), limit=query.limit + 1)
    total = await repository.count(session, filters, reads, unread=unread)
    shown, cursor = cut(rows, query.limit, _place)
    return _page([FeedEvent.of(row) for row in shown], cursor, total, reads.head)


async def folded(session: AnySession, user_id: UUID, query: FeedQuery) -> FeedPage:
    """Groups, each as its worst event; a group of one event is that event."""
    filters, unread, before = query.chosen(), query.unread, _before(query)
    reads = await repository_reads.state(session, user_id)
    rows = await repository_folded.page(session, filters, reads, unread=unread, before=before, limit=query.limit + 1)
    total = await repository_folded.count(session, filters, reads, unread=unread)
    shown, cursor = cut(rows, query.limit, _place)
    wanted = {row[name] for row in shown for name in ("worst_event_id", "first_event_id")}
    examples = await repository.by_ids(session, list(wanted), reads)
    return _page([_entry(row, examples) for row in shown], cursor, total, reads.head)


def _before(query: FeedQuery) -> repository.Place | None:
    return None if query.cursor is None else decode_cursor(query.cursor, tuple[datetime, UUID])


def _place(row: Record) -> repository.Place:
    return row["created_at"], row["id"]


def _page(entries: list[FeedEvent], cursor: str | None, total: int, head: int) -> FeedPage:
    return FeedPage(
        events=entries,
        cursor=cursor,
        has_more=cursor is not None,
        total_count=min(total, COUNT_CAP),
        total_is_capped=total > COUNT_CAP,
        position=head,
    )


def _entry(group: Record, examples: Mapping[UUID, Record]) -> FeedEvent:
    example = examples[group["worst_event_id"]]
    worst = FeedEvent.of(example)
    if group["event_count"] == 1:
        return worst
    actor = worst.user.name if worst.user else None
    assignee = None if example["assignee_id"] is None else _assignee(worst.payload)
    details = FeedGroup(
        id=group["id"],
        summary=sentence_of_group(worst.event_type, group["event_count"], actor, assignee),
        event_count=group["event_count"],
        unread_count=group["unread_count"],
        first_at=group["first_at"],
        last_at=group["last_at"],
        last_position=group["last_position"],
        opened_by=FeedEvent.of(examples[group["first_event_id"]]),
    )
    return worst.model_copy(update={"group": details, "read": group["unread_count"] == 0})


def _assignee(payload: Any) -> str | None:
    """The one to whom all events of a group give work; the groups of assignments are kept apart by them."""
    name = payload["assignment"]["assignee"].get("name")
    return name if isinstance(name, str) else None
