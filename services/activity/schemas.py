"""What the activity API takes and answers."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator

from services.activity.repository import Record
from services.activity.repository_filters import FeedFilters
from shared.events.vocabulary import ActivityEventType
from shared.moments import Moment
from shared.pagination import Cursor, Limit, NextCursor


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
    group_id: UUID | None = Field(None, description="Only the events of this group: opens what is folded.")

    def chosen(self) -> FeedFilters:
        """The filters as the repository takes them."""
        return replace(super().chosen(), since=self.since, until=self.until, group_id=self.group_id)


class FeedQuery(Filters):
    """A page of the feed."""

    unread: bool = Field(False, description="Only events that the caller has not read.")
    grouped: bool = Field(
        False,
        description="Fold bursts: an entry stands for all that the system did of one kind within a minute, or for all "
        "that one request of a person did. Each entry keeps its place, that of the event that opened it, which `from` "
        "and `to` are about. Not together with `signal_id` or `group_id`.",
    )
    limit: Limit = 20
    cursor: Cursor = None

    @model_validator(mode="after")
    def _folded_over_signals(self) -> Self:
        if self.grouped and (self.signal_id is not None or self.group_id is not None):
            raise ValueError("`grouped` folds events of many signals: it goes with neither `signal_id` nor `group_id`")
        return self


class Actor(BaseModel):
    """A user who did something."""

    id: UUID
    name: str | None = Field(description="As it was when the event happened; null while it is not known here.")


class SignalLabel(BaseModel):
    """What the feed calls a signal, with the names that were valid when the event happened."""

    facility: str | None
    metric_id: str | None
    description: str | None
    severity: int | None

    @classmethod
    def of(cls, payload: Any) -> Self | None:
        """From an event's data, whoever produced it: as the signals service or as the workflow service names it."""
        for name, severity in (("label", "severity"), ("signal", "simplified_severity")):
            if isinstance(payload, dict) and isinstance(told := payload.get(name), dict):
                texts = {key: told.get(key) for key in ("facility", "metric_id", "description")}
                number = told.get(severity)
                return cls(
                    **{key: value if isinstance(value, str) else None for key, value in texts.items()},
                    severity=number if type(number) is int else None,
                )
        return None


class FeedGroup(BaseModel):
    """Events that an entry of the grouped feed stands for; the entry itself is the worst of them."""

    id: UUID = Field(description="`group_id` of `GET /api/feed` lists all of them, and marks all of them as read.")
    summary: str = Field(description="All of it in one sentence.", examples=["5,000 new signals."])
    event_count: int
    unread_count: int = Field(description="Of them, those that the caller has not read.")
    first_at: datetime = Field(description="When the earliest happened.")
    last_at: datetime = Field(description="When the latest happened.")
    last_position: int = Field(description="`up_to_position` for marking as read those that were there.")
    opened_by: "FeedEvent" = Field(description="The event that opened the group.")


class FeedEvent(BaseModel):
    """An event as the feed shows it."""

    id: UUID
    position: int = Field(description="In the order in which events were stored, from 1 without gaps.")
    event_type: ActivityEventType
    signal_id: UUID | None = Field(description="The signal that it concerns; null for a technical error.")
    user: Actor | None = Field(description="Who did it; null for the system.")
    signal: SignalLabel | None = Field(description="What the signal was called then; null where the event names none.")
    summary: str = Field(description="Who did what on which signal, in one sentence, with the names of then.")
    payload: Any = Field(description="The event's data; its schema is the event's in the AsyncAPI document.")
    created_at: datetime = Field(description="When it happened.")
    read: bool = Field(description="Whether the caller has read it; of a group, all of it.")
    group: FeedGroup | None = Field(None, description="What the entry stands for; null for a single event.")

    @classmethod
    def of(cls, row: Record) -> Self:
        """From a row of the repository's."""
        payload = msgspec.json.decode(row["payload"])
        signal = SignalLabel.of(payload)
        event_type = ActivityEventType(row["event_type"])
        return cls(
            id=row["id"],
            position=row["position"],
            event_type=event_type,
            signal_id=row["signal_id"],
            user=None if row["user_id"] is None else Actor(id=row["user_id"], name=row["user_name"]),
            signal=signal,
            summary=row["summary"] or sentence(event_type, row["user_name"], signal),
            payload=payload,
            created_at=row["created_at"],
            read=row["is_read"],
        )


_WORDS: Final = {
    ActivityEventType.NEW_SIGNAL: ("new signal", "new signals"),
    ActivityEventType.REGRESSION: ("regression", "regressions"),
    ActivityEventType.IMPROVEMENT: ("improvement", "improvements"),
    ActivityEventType.INSIGHT: ("insight", "insights"),
    ActivityEventType.TECHNICAL_ERROR: ("technical error", "technical errors"),
    ActivityEventType.ASSIGNMENT: ("assignment", "assignments"),
    ActivityEventType.STATUS_CHANGE: ("change of status", "changes of status"),
    ActivityEventType.COMMENT: ("comment", "comments"),
    ActivityEventType.INTERVENTION_ACTIVATED: ("intervention started", "interventions started"),
    ActivityEventType.INTERVENTION_OUTCOME: ("outcome of an intervention", "outcomes of interventions"),
}


def sentence(event_type: ActivityEventType, actor: str | None, signal: SignalLabel | None) -> str:
    """What is said of an event whose producer sent no sentence."""
    words = [f"{actor}:" if actor else "", _WORDS[event_type][0]]
    if signal is not None and signal.metric_id:
        words.append(f"on {signal.metric_id}")
    if signal is not None and signal.facility:
        words.append(f"at {signal.facility}")
    text = " ".join(word for word in words if word)
    return f"{text[0].upper()}{text[1:]}."


def sentence_of_group(event_type: ActivityEventType, count: int, actor: str | None, assignee: str | None) -> str:
    """What is said of a group."""
    who, whom = f"{actor}: " if actor else "", f" to {assignee}" if assignee else ""
    return f"{who}{count:,} {_WORDS[event_type][count != 1]}{whom}."


class FeedPage(BaseModel):
    """Events, the newest first by (created_at, id)."""

    events: list[FeedEvent]
    cursor: NextCursor
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
