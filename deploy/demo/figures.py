"""What every source of monthly figures delivers: who was measured, on what, and with which numbers."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.events.vocabulary import MetricPolarity, SignalDomain

Dimensions = tuple[tuple[str, str], ...]
"""Name and value of each dimension, in the source's order; empty for a facility as a whole."""


class Cases(NamedTuple):
    """The figures of one month: the metric is numerator / denominator, the denominator is the number of cases."""

    numerator: float
    denominator: float


@dataclass(frozen=True, slots=True)
class Facility:
    """A hospital."""

    facility_id: str
    name: str
    system_name: str | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric at one node of the engine's graph, with what is the same for all of its signals.

    `target_range` is the range of good values of a metric whose polarity is `target_range`; without one the peers'
    mean is the target. `as_percentage` says how a value is written for people.
    """

    metric_id: str
    name: str
    domain: SignalDomain
    polarity: MetricPolarity
    service_line: str
    canonical_node_id: str
    temporal_node_id: str | None = None
    target_range: tuple[float, float] | None = None
    as_percentage: bool = True


class Entity(NamedTuple):
    """One measure at one facility, or in one slice of it."""

    measure: Measure
    facility: Facility
    dimensions: Dimensions


@dataclass(slots=True)
class Figures:
    """All monthly figures of a source, by entity and by month number."""

    by_entity: dict[Entity, dict[int, Cases]] = field(default_factory=lambda: defaultdict(dict))

    @property
    def last_month(self) -> int:
        """The latest month that any entity has figures for."""
        return max(month for months in self.by_entity.values() for month in months)

    def up_to(self, month: int) -> "Figures":
        """What was known at the end of a month; entities without any figure by then are not in it."""
        known = Figures()
        for entity, months in self.by_entity.items():
            kept = {number: cases for number, cases in months.items() if number <= month}
            if kept:
                known.by_entity[entity] = kept
        return known


class Rollups(NamedTuple):
    """The totals over the dimensions."""

    figures: Mapping[Entity, dict[int, Cases]]
    parts: Mapping[Entity, frozenset[Dimensions]]
    """What each total is made of: only totals of the same parts can be compared."""
    of_one_part: int
    """How many totals were left out because they would only repeat their single part."""


def rollups(figures: Figures) -> Rollups:
    """Totals over the dimensions, from the last one on, so that every slice has a parent up to the facility."""
    children: dict[Entity, dict[Dimensions, dict[int, Cases]]] = defaultdict(dict)
    for entity, months in figures.by_entity.items():
        for kept in range(len(entity.dimensions)):
            parent = entity._replace(dimensions=entity.dimensions[:kept])
            children[parent][entity.dimensions] = months
    totals = {parent: _sum(parts.values()) for parent, parts in children.items() if len(parts) > 1}
    return Rollups(
        figures=totals,
        parts={parent: frozenset(children[parent]) for parent in totals},
        of_one_part=len(children) - len(totals),
    )


def _sum(parts: Iterable[Mapping[int, Cases]]) -> dict[int, Cases]:
    total: dict[int, Cases] = {}
    for months in parts:
        for month, cases in months.items():
            before = total.get(month, Cases(0, 0))
            total[month] = Cases(before.numerator + cases.numerator, before.denominator + cases.denominator)
    return total
