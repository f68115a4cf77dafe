"""What the activity API takes and answers."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator
from sqlalchemy import Row

from services.activity.repository_filters import FeedFilters
from shared.events.vocabulary import ActivityEventType
from shared.moments import Moment
from shared.pagination import Cursor, Limit


class StreamQuery(BaseModel):
    """Which events of the feed are meant; all given conditions hold together."""

    model_config = ConfigDict(extra="forbid")

    signal_id: UUID | None = Field(None, description="Only events on this signal.")
    event_type: list[ActivityEventType] = Field([], max_length=10, description="Only these types; repeatable.")
    user_id: UUID | None = Field(None, description="Only what this user did.")

    def chosen(self) -> FeedFilters:
        """The filters as the repository takes them."""
        return FeedFilters(self.signal_id, tuple(dict.fromkeys(self.event_type)), self.user_id)


class Filters(StreamQuery):
    """Which events of the feed are meant, also by when they happened."""

    since: Moment | None = Field(None, alias="from", description="Only what happened at this time or later.")
    until: Moment | None = Field(None, alias="to", description="Only what happened before this time.")

    def chosen(self) -> FeedFilters:
        """The filters as the repository takes them."""
        return replace(super().chosen(), since=self.since, until=self.until)


class FeedQuery(Filters):
    """A page of the feed."""

    unread: bool = Field(False, description="Only events that the caller has not read.")
    limit: Limit = 20
    cursor: Cursor = None


class Actor(BaseModel):
    """A user who did something."""

    id: UUID
    name: str | None = Field(description="As it was when the event happened; null while it is not known here.")


class FeedEvent(BaseModel):
    """An event as the feed shows it."""

    id: UUID
    position: int = Field(description="In the order in which events were stored, from 1 without gaps.")
    event_type: ActivityEventType
    signal_id: UUID | None = Field(description="The signal that it concerns; null for a technical error.")
    user: Actor | None = Field(description="Who did it; null for the system.")
    summary: str | None = Field(description="What happened, in one sentence.")
    payload: Any = Field(description="The event's data; its schema is the event's in the AsyncAPI document.")
    created_at: datetime = Field(description="When it happened.")
    read: bool = Field(description="Whether the caller has read it.")

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """From a row of the repository's."""
        return cls(
            id=row.id,
            position=row.position,
            event_type=row.event_type,
            signal_id=row.signal_id,
            user=None if row.user_id is None else Actor(id=row.user_id, name=row.user_name),
            summary=row.summary,
            payload=row.payload,
            created_at=row.created_at,
            read=row.is_read,
        )


class FeedPage(BaseModel):
    """Events, the newest first by (created_at, id)."""

    events: list[FeedEvent]
    cursor: str | None = Field(description="Asks for the next page; null on the last.")
    has_more: bool
    total_count: int = Field(description="Events that match the filters, exact up to 10,000.")
    total_is_capped: bool = Field(description="Whether there are more than `total_count`.")
    position: int = Field(
        description="Of the last event stored when the page was read: `up_to_position` for marking all of it as read."
    )


class Unread(BaseModel):
    """Where the caller stands."""

    unread_count: int = Field(description="Events that the caller has not read; exact.")
    position: int = Field(description="Of the last event counted: `up_to_position` for marking all of them as read.")


class Marked(Unread):
    """What marking changed."""

    marked: int = Field(description="Events that the caller had not read before.")


_NEITHER_OR_BOTH: Final = "either `ids` or `up_to_position`, which `filters` may narrow, is needed"


class MarkRead(BaseModel):
    """Which events to mark: some by id, or all that match the filters up to a position."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"ids": ["8246b505-1681-5591-ac89-db6db47ac833"]},
                {"up_to_position": 1204},
                {"up_to_position": 1204, "filters": {"event_type": ["new_signal"]}},
            ]
        },
    )

    ids: list[UUID] | None = Field(
        None, min_length=1, max_length=500, description="Events; ids that are not in the feed change nothing."
    )
    up_to_position: StrictInt | None = Field(
        None, ge=0, le=2**63 - 1, description="All events up to this one; what was stored later stays unread."
    )
    filters: Filters | None = Field(None, description="Only with `up_to_position`; none means all events.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.ids is None) == (self.up_to_position is None) or (self.ids is not None and self.filters is not None):
            raise ValueError(_NEITHER_OR_BOTH)
        return self
