"""Comparing every entity with its peers, month by month, as the classification rules define the figures.

Peers are all facilities with the same measure and dimensions, and for a total those with the same parts; each counts in
the months in which it has enough cases. The entity itself is one of them.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from deploy.demo.figures import Cases, Dimensions, Entity, Figures, Measure, rollups
from shared.events.engine import ClassificationInputs
from shared.events.vocabulary import MetricPolarity
from shared.statistics import (
    mean,
    mid_rank_percentiles,
    population_std,
    sample_std,
    second_derivative,
    slope,
)

MINIMUM_CASES = 20
"""A month with fewer cases is skipped everywhere."""
MINIMUM_PERIODS = 3
SLOPE_PERIODS = 6
ACCELERATION_PERIODS = 12


class LeftOut(StrEnum):
    """Why no signal is made of an entity."""

    NO_LAST_MONTH = "no usable figure in the last month"
    FEW_MONTHS = "fewer than 3 usable months"
    SINGLE_PART = "total of a single part"


@dataclass(frozen=True, slots=True)
class PeerMonth:
    """The peers' raw values of one month. `std` is None for a single peer."""

    n: int
    mean: float
    std: float | None
    percentiles: tuple[float, float, float, float, float]
    """The 10th, 25th, 50th, 75th and 90th."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One entity among its peers: all that a signal says. Values are raw, the inputs are turned so that high is bad."""

    entity: Entity
    months: Mapping[int, Cases]
    """The usable months, in order; the last one is the month of the finding."""
    peers: Mapping[int, PeerMonth]
    percentile_rank: float
    slope: float | None
    """Of the raw values, per month."""
    inputs: ClassificationInputs

    @property
    def last_month(self) -> int:
        """The month that the finding is about."""
        return max(self.months)

    def value(self, month: int) -> float:
        """The metric in one of the entity's months."""
        return _value(self.months[month])


@dataclass(slots=True)
class Findings:
    """What came out of a source of figures."""

    findings: list[Finding] = field(default_factory=list)
    left_out: Counter[LeftOut] = field(default_factory=Counter)


def find(figures: Figures, last_month: int) -> Findings:
    """A finding for every entity, totals included, that has a usable figure in the last month and enough before."""
    known = figures.up_to(last_month)
    totals = rollups(known)
    groups: dict[tuple[Measure, Dimensions, frozenset[Dimensions] | None], dict[Entity, dict[int, Cases]]]
    groups = defaultdict(dict)
    for entity, months in {**known.by_entity, **totals.figures}.items():
        usable = {month: months[month] for month in sorted(months) if months[month].denominator >= MINIMUM_CASES}
        groups[entity.measure, entity.dimensions, totals.parts.get(entity)][entity] = usable
    result = Findings()
    if totals.of_one_part:
        result.left_out[LeftOut.SINGLE_PART] = totals.of_one_part
    for group in groups.values():
        _compare(group, last_month, result)
    result.findings.sort(key=lambda found: _order(found.entity))
    return result


def _order(entity: Entity) -> tuple[str, str, Dimensions]:
    return entity.measure.canonical_node_id, entity.facility.facility_id, entity.dimensions


def _value(cases: Cases) -> float:
    return cases.numerator / cases.denominator


@dataclass(slots=True)
class _Series:
    """One entity's turned values and z-scores by month."""

    turned: dict[int, float] = field(default_factory=dict)
    zscores: dict[int, float] = field(default_factory=dict)
    percentile_rank: float | None = None
    """Of the raw value, in the last month."""


def _compare(group: Mapping[Entity, dict[int, Cases]], last_month: int, result: Findings) -> None:
    series = {entity: _Series() for entity in group}
    peers = _peer_months(group, last_month, series)
    slopes = {
        entity: found
        for entity, one in series.items()
        if len(one.turned) >= SLOPE_PERIODS and (found := _slope(one.turned)) is not None
    }
    slope_percentiles = dict(zip(slopes, mid_rank_percentiles(list(slopes.values())), strict=True))
    for entity, months in group.items():
        one = series[entity]
        if one.percentile_rank is None:
            result.left_out[LeftOut.NO_LAST_MONTH] += 1
        elif len(months) < MINIMUM_PERIODS:
            result.left_out[LeftOut.FEW_MONTHS] += 1
        else:
            result.findings.append(
                Finding(
                    entity=entity,
                    months=months,
                    peers={month: peers[month] for month in months},
                    percentile_rank=one.percentile_rank,
                    slope=_slope({month: _value(cases) for month, cases in months.items()}),
                    inputs=_inputs(one.zscores, slope_percentiles.get(entity)),
                )
            )


def _peer_months(
    group: Mapping[Entity, dict[int, Cases]], last_month: int, series: Mapping[Entity, _Series]
) -> dict[int, PeerMonth]:
    """The peers of each month; fills in the series of each entity on the way."""
    peers: dict[int, PeerMonth] = {}
    for month in sorted({month for months in group.values() for month in months}):
        there = [entity for entity, months in group.items() if month in months]
        raw = [_value(group[entity][month]) for entity in there]
        peers[month] = _peer_month(raw)
        turned = turned_values(there[0].measure, raw)
        centre, spread = mean(turned), sample_std(turned)
        for entity, value in zip(there, turned, strict=True):
            series[entity].turned[month] = value
            if spread:
                series[entity].zscores[month] = (value - centre) / spread
        if month == last_month:
            for entity, percentile in zip(there, mid_rank_percentiles(raw), strict=True):
                series[entity].percentile_rank = percentile
    return peers


def _peer_month(raw: Sequence[float]) -> PeerMonth:
    p10, p25, p50, p75, p90 = np.percentile(raw, [10, 25, 50, 75, 90]).tolist()
    return PeerMonth(len(raw), mean(raw), sample_std(raw), (p10, p25, p50, p75, p90))


def turned_values(measure: Measure, raw: Sequence[float]) -> list[float]:
    """All peers' raw values of one month, turned so that high is bad."""
    if measure.polarity is MetricPolarity.LOWER_IS_BETTER:
        return list(raw)
    if measure.polarity is MetricPolarity.HIGHER_IS_BETTER:
        return [-value for value in raw]
    if measure.target_range is None:
        target = mean(raw)
        return [abs(value - target) for value in raw]
    low, high = measure.target_range
    return [max(low - value, value - high, 0.0) for value in raw]


def _slope(values: Mapping[int, float]) -> float | None:
    return slope(list(values), list(values.values()))


def _inputs(zscores: Mapping[int, float], slope_percentile: float | None) -> ClassificationInputs:
    values = list(zscores.values())
    if not values:
        return ClassificationInputs(slope_percentile=slope_percentile)
    return ClassificationInputs(
        aggregate_zscore=mean(values),
        slope_percentile=slope_percentile,
        acceleration=second_derivative(list(zscores), values) if len(values) >= ACCELERATION_PERIODS else None,
        zscore_std=population_std(values),
        max_abs_deviation=max(map(abs, values)),
    )
