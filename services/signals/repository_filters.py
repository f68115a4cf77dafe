"""The conditions, sorts and keys of the list of signals, as SQL with numbered parameters."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from shared.events.vocabulary import AssignmentStatus, MagnitudeTier, SignalDomain, SignalType


class Sort(StrEnum):
    """What the list is sorted by."""

    DETECTED_AT = "detected_at"
    PRIORITY = "priority"
    METRIC_ID = "metric_id"
    FACILITY = "facility"


class SortOrder(StrEnum):
    """Which way; missing values are last both ways."""

    ASC = "asc"
    DESC = "desc"


SORT_COLUMNS: Final = {
    Sort.DETECTED_AT: "detected_at",
    Sort.PRIORITY: "simplified_severity",
    Sort.METRIC_ID: "metric_id",
    Sort.FACILITY: "facility",
}
# Its index is in the order of descending severity with missing ones last; read backwards, they are first.
NULLABLE: Final = Sort.PRIORITY


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFilters:
    """What the list shows. Several values of one filter match any of them; different filters must all match."""

    domain: Sequence[SignalDomain] = ()
    facility: Sequence[str] = ()
    facility_id: Sequence[str] = ()
    system_name: Sequence[str] = ()
    service_line: Sequence[str] = ()
    sub_service_line: Sequence[str] = ()
    metric_id: Sequence[str] = ()
    signal_type: Sequence[SignalType] = ()
    magnitude_tier: Sequence[MagnitudeTier] = ()
    status: Sequence[AssignmentStatus] = ()
    assignee_id: Sequence[UUID] = ()
    unassigned: bool | None = None
    min_severity: int | None = None
    detected_from: datetime | None = None
    detected_to: datetime | None = None
    dimensions: dict[str, list[str]] = field(default_factory=dict)
    q: str | None = None
    include_history: bool = False


@dataclass(slots=True)
class Conditions:
    """Parts of a WHERE clause and the values of their parameters."""

    parts: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, template: str, *values: Any) -> None:
        """Add a condition; each ``{}`` in it becomes the parameter of the next value."""
        first = len(self.values) + 1
        self.parts.append(template.format(*(f"${first + number}" for number in range(len(values)))))
        self.values.extend(values)

    def any_of(self, column: str, cast: str, values: Sequence[Any]) -> None:
        """Add that a column has one of the values; nothing for none."""
        if len(values) == 1:
            # A plain comparison lets an index that begins with the column give the order of the rest.
            self.add(f"{column} = {{}}::{cast}", values[0])
        elif values:
            self.add(f"{column} = ANY({{}}::{cast}[])", list(values))

    def copy(self) -> "Conditions":
        """The same, to be added to."""
        return Conditions(list(self.parts), list(self.values))

    @property
    def where(self) -> str:
        """The clause's text."""
        return " AND ".join(self.parts) or "true"


def conditions(filters: SignalFilters) -> Conditions:
    """The filters as conditions on ``signals AS s``."""
    found = Conditions()
    if not filters.include_history:
        found.add("s.is_current")
    # Enums are compared as the column's own type, so that indexes on them count.
    found.any_of("s.domain", "signal_domain", filters.domain)
    found.any_of("s.facility", "text", filters.facility)
    found.any_of("s.facility_id", "text", filters.facility_id)
    found.any_of("s.system_name", "text", filters.system_name)
    found.any_of("s.service_line", "text", filters.service_line)
    found.any_of("s.sub_service_line", "text", filters.sub_service_line)
    found.any_of("s.metric_id", "text", filters.metric_id)
    found.any_of("s.simplified_signal_type", "text", filters.signal_type)
    found.any_of("s.magnitude_tier", "magnitude_tier", filters.magnitude_tier)
    if filters.status and AssignmentStatus.NEW not in filters.status:
        found.add("s.workflow_status <> 'new'")  # what the index on the status is limited to
    found.any_of("s.workflow_status", "assignment_status", filters.status)
    found.any_of("s.assignee_id", "uuid", filters.assignee_id)
    if filters.unassigned is not None:
        found.add(f"s.assignee_id IS {'' if filters.unassigned else 'NOT '}NULL")
    if filters.min_severity is not None:
        found.add("s.simplified_severity >= {}", filters.min_severity)
    if filters.detected_from is not None:
        found.add("s.detected_at >= {}", filters.detected_from)
    if filters.detected_to is not None:
        found.add("s.detected_at < {}", filters.detected_to)
    for name, values in filters.dimensions.items():
        documents = [msgspec.json.encode({name: value}).decode() for value in values]
        found.add(
            "(" + " OR ".join(["s.entity_dimensions @> {}::text::jsonb"] * len(documents)) + ")",
            *documents,
        )
    if filters.q is not None:
        pattern = "%" + filters.q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        found.add(
            "(s.description ILIKE {0} OR s.facility ILIKE {0} OR s.metric_id ILIKE {0}"
            " OR s.metric_id IN (SELECT metric_id FROM metrics WHERE display_name ILIKE {0}))",
            pattern,
        )
    return found
