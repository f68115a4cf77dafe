"""Which events of the feed are meant, as values and as SQL."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from shared.events.vocabulary import ActivityEventType

Columns: TypeAlias = ReadOnlyColumnCollection[str, Any]
"""Those of `activity_events`, or of a subquery that has the same."""


@dataclass(frozen=True, slots=True)
class FeedFilters:
    """Which events of the feed are wanted; ``since`` is included, ``until`` is not."""

    signal_id: UUID | None = None
    event_types: tuple[ActivityEventType, ...] = ()
    user_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    group_id: UUID | None = None

    @property
    def none(self) -> bool:
        """Whether every event is wanted."""
        return self == FeedFilters()


def conditions(columns: Columns, filters: FeedFilters) -> list[ColumnElement[bool]]:
    """The filters as conditions on a table, or something with the columns of a table, of events."""
    found: list[ColumnElement[bool]] = []
    if filters.signal_id is not None:
        found.append(columns.signal_id == filters.signal_id)
    if filters.group_id is not None:
        found.append(columns.group_id == filters.group_id)
    if filters.event_types:
        found.append(columns.event_type.in_(filters.event_types))
    if filters.user_id is not None:
        found.append(columns.user_id == filters.user_id)
    if filters.since is not None:
        found.append(columns.created_at >= filters.since)
    if filters.until is not None:
        found.append(columns.created_at < filters.until)
    return found
