"""Which events of the feed are meant, as values and as SQL text.

Text, because building a statement anew for each page cost more than running it.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.db import Values
from shared.events.vocabulary import ActivityEventType


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


def conditions(filters: FeedFilters, values: Values) -> list[str]:
    """The filters as conditions on ``activity_events AS e``, or on something with the same columns.

    Types are few and our own: written out, also a plan that is kept knows how frequent each is.
    """
    found = []
    if filters.signal_id is not None:
        found.append(f"e.signal_id = {values.put(filters.signal_id)}")
    if filters.group_id is not None:
        found.append(f"e.group_id = {values.put(filters.group_id)}")
    return found + conditions_on_groups(filters, values, "e")


def conditions_on_groups(filters: FeedFilters, values: Values, alias: str) -> list[str]:
    """Those of the filters that hold for all events of a group or for none."""
    found = []
    if len(filters.event_types) == 1:
        found.append(f"{alias}.event_type = '{filters.event_types[0].value}'")
    elif filters.event_types:
        types = ", ".join(f"'{one.value}'" for one in filters.event_types)
        found.append(f"{alias}.event_type IN ({types})")
    if filters.user_id is not None:
        found.append(f"{alias}.user_id = {values.put(filters.user_id)}")
    if filters.since is not None:
        found.append(f"{alias}.created_at >= {values.put(filters.since)}")
    if filters.until is not None:
        found.append(f"{alias}.created_at < {values.put(filters.until)}")
    return found
