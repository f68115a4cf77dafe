"""The conditions, sorts and keys of the list of signals, as SQL with numbered parameters."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from services.signals.models import RARE_TIERS, RARE_TYPES, SEVERE
from shared.events.vocabulary import AssignmentStatus, MagnitudeTier, SignalDomain, SignalType

_FREQUENT_TYPES: Final = {SignalType.BASELINE, SignalType.IMPROVING_LEADER, SignalType.EMERGING_RISK}
_SEVERE: Final = 91
_RARE_TIERS: Final = {MagnitudeTier.CRITICAL, MagnitudeTier.SEVERE}


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
    Sort.DETECTED_AT: ("detected_at", "id"),
    Sort.PRIORITY: ("simplified_severity", "detected_at", "id"),
    Sort.METRIC_ID: ("metric_id", "detected_at", "id"),
    Sort.FACILITY: ("facility", "detected_at", "id"),
}
"""Ties are in the order of detection and then of the id, all in the direction of the sort."""

_PARAMETER: Final = re.compile(r"\$(\d+)")

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

    def also(self, other: "Conditions") -> None:
        """Add conditions that were made by themselves."""
        first = len(self.values)
        self.parts += [_PARAMETER.sub(lambda match: f"${int(match[1]) + first}", part) for part in other.parts]
        self.values += other.values

    def copy(self) -> "Conditions":
        """The same, to be added to."""
        return Conditions(list(self.parts), list(self.values))

    @property
    def where(self) -> str:
        """The clause's text."""
        return " AND ".join(self.parts) or "true"


def conditions(filters: SignalFilters, sort: Sort) -> tuple[Conditions, Conditions]:
    """The filters but `q` as conditions on ``signals AS s``: those to walk by in the order of the sort, and the rest.

    The rest may hold for few rows, for which an index of their own is there but not in the order of this sort.
    """
    walked, sparse = Conditions(), Conditions()

    def of(column: str, values: Sequence[object]) -> Conditions:
        in_order = column == SORT_COLUMNS[sort][0] or (sort is Sort.DETECTED_AT and len(values) == 1)
        return walked if in_order else sparse

    if not filters.include_history:
        walked.add("s.is_current")
    # Enums are compared as the column's own type, so that indexes on them count.
    walked.any_of("s.domain", "signal_domain", filters.domain)
    walked.any_of("s.system_name", "text", filters.system_name)
    walked.any_of("s.service_line", "text", filters.service_line)
    of("facility", filters.facility).any_of("s.facility", "text", filters.facility)
    of("facility_id", filters.facility_id).any_of("s.facility_id", "text", filters.facility_id)
    of("", filters.sub_service_line).any_of("s.sub_service_line", "text", filters.sub_service_line)
    of("metric_id", filters.metric_id).any_of("s.metric_id", "text", filters.metric_id)
    types = of("", filters.signal_type)
    types.any_of("s.simplified_signal_type", "text", filters.signal_type)
    # Said once more in the words of the indexes that hold nothing else.
    if filters.signal_type and not _FREQUENT_TYPES.intersection(filters.signal_type):
        types.add(f"s.{RARE_TYPES}")
    tiers = of("", filters.magnitude_tier)
    tiers.any_of("s.magnitude_tier", "magnitude_tier", filters.magnitude_tier)
    if filters.magnitude_tier and _RARE_TIERS.issuperset(filters.magnitude_tier):
        tiers.add(f"s.{RARE_TIERS}")
    touched = bool(filters.status) and AssignmentStatus.NEW not in filters.status
    statuses = walked if sort is Sort.DETECTED_AT or not touched else sparse
    if touched:
        statuses.add("s.workflow_status <> 'new'")
    statuses.any_of("s.workflow_status", "assignment_status", filters.status)
    of("", filters.assignee_id).any_of("s.assignee_id", "uuid", filters.assignee_id)
    if filters.unassigned is not None:
        assigned = walked if sort is Sort.DETECTED_AT or filters.unassigned else sparse
        assigned.add(f"s.assignee_id IS {'' if filters.unassigned else 'NOT '}NULL")
    if filters.min_severity is not None:
        walked.add("s.simplified_severity >= {}", filters.min_severity)
        if filters.min_severity >= _SEVERE:
            walked.add(f"s.{SEVERE}")
    if filters.detected_from is not None:
        walked.add("s.detected_at >= {}", filters.detected_from)
    if filters.detected_to is not None:
        walked.add("s.detected_at < {}", filters.detected_to)
    for name, values in filters.dimensions.items():
        documents = [msgspec.json.encode({name: value}).decode() for value in values]
        sparse.add(
            "(" + " OR ".join(["s.entity_dimensions @> {}::text::jsonb"] * len(documents)) + ")",
            *documents,
        )
    return walked, sparse


def names_in_order(filters: SignalFilters, sort: Sort) -> Conditions:
    """In a sort by name, the names that can match, from the counts: what no such row has is never looked at.

    Without it a system whose facilities come last in the alphabet is found after all the others. The counts and what
    is not folded into them yet hold every name that a current signal has at this moment.
    """
    found = Conditions()
    name = SORT_COLUMNS[sort][0]
    known = {
        "c.domain = ANY({}::signal_domain[])": filters.domain,
        "c.system_name = ANY({}::text[])": filters.system_name,
        "c.detail = ANY({}::text[])": filters.facility_id if sort is Sort.FACILITY else (),
    }
    narrowing = {template: list(values) for template, values in known.items() if values}
    if sort not in (Sort.FACILITY, Sort.METRIC_ID) or filters.include_history or not narrowing:
        return found
    if (filters.facility if sort is Sort.FACILITY else filters.metric_id) or filters.q is not None:
        return found
    where = " AND ".join(
        [f"c.facet = '{name}'", *(each.format(f"{{{place}}}") for place, each in enumerate(narrowing))]
    )
    found.add(
        f"s.{name} = ANY(ARRAY(SELECT c.value FROM option_counts AS c WHERE {where}"  # noqa: S608 - constants
        f" UNION SELECT c.value FROM option_deltas AS c WHERE {where}))",
        *narrowing.values(),
    )
    return found
