"""Every threshold of the classification with the specification's number: right below it, at it, right above it.

Right below and above are the next numbers that a computer can tell apart, where the threshold is compared with a number
as it comes. A threshold that has no line here fails `test_no_threshold_is_forgotten`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.signals.classification import ClassificationSettings, Figures, classify, consistency_tier
from services.signals.classification_inputs import classification_inputs
from shared.events.engine import ClassificationInputs, PeerPeriod, TimelinePoint
from shared.events.vocabulary import MagnitudeTier, TrajectoryTier

SETTINGS = ClassificationSettings()


class Limit(NamedTuple):
    """A threshold by its path, its number, what depends on it, and what that is below, at and above."""

    path: str
    number: float
    look: Callable[[float], Any]
    below: Any
    at: Any
    above: Any
    step: float | None = None
    """How far below and above are, where the very next numbers cannot be made."""


def magnitude(percentile: float) -> Any:
    return classify(Figures(1.0, percentile_rank=percentile), SETTINGS).magnitude_tier


def magnitude_of_zscore(zscore: float) -> Any:
    return classify(Figures(zscore, 0.0, 1.0, 50.0), SETTINGS).magnitude_tier


def trajectory(slope: float) -> Any:
    return classify(Figures(1.0, inputs=ClassificationInputs(slope_percentile=slope)), SETTINGS).trajectory_tier


def variation(of: float) -> Any:
    return consistency_tier([100 - 100 * of, 100 + 100 * of], 6, SETTINGS.consistency)


def periods_of_consistency(periods: float) -> Any:
    return consistency_tier([90.0, 110.0], int(periods), SETTINGS.consistency)


def indicator(name: str, of: str) -> Callable[[float], Any]:
    def look(value: float) -> Any:
        inputs = ClassificationInputs(**{of: value})
        return classify(Figures(1.0, inputs=inputs), SETTINGS).simplified_indicators[name]

    return look


def type_by(**fixed: float) -> Callable[[float], Any]:
    """The type as a function of the one input (z, s or d) that is not fixed."""
    [free] = {"z", "s", "d"} - fixed.keys()

    def look(value: float) -> Any:
        return _classified(**fixed | {free: value}).simplified_signal_type

    return look


def type_by_periods(periods: float) -> Any:
    return classify(Figures(1.0, period_count=int(periods)), SETTINGS).simplified_signal_type


def severity_by(free: str, **fixed: float) -> Callable[[float], Any]:
    def look(value: float) -> Any:
        return _classified(**(fixed | {free: value})).simplified_severity

    return look


def _classified(z: float | None = None, s: float | None = None, d: float | None = None, a: float | None = None) -> Any:
    inputs = ClassificationInputs(aggregate_zscore=z, slope_percentile=s, acceleration=a, max_abs_deviation=d)
    return classify(Figures(1.0, inputs=inputs, period_count=12), SETTINGS)


def peers(n: float) -> Any:
    figures = Figures(
        1.0, timeline=[TimelinePoint("2026-01", 1.0)], peer_trends=[PeerPeriod("2026-01", mean=0.0, std=1.0, n=int(n))]
    )
    return classification_inputs(figures, None, SETTINGS.inputs).max_abs_deviation


def months_with_an_acceleration(months: float) -> Any:
    periods = [f"2026-{month:02}" for month in range(1, int(months) + 1)]
    figures = Figures(
        1.0,
        timeline=[TimelinePoint(period, float(n)) for n, period in enumerate(periods)],
        peer_trends=[PeerPeriod(period, mean=0.0, std=1.0, n=9) for period in periods],
    )
    return classification_inputs(figures, None, SETTINGS.inputs).acceleration is not None


LEVEL = indicator("magnitude_level", "aggregate_zscore")
DIRECTION = indicator("trajectory_direction", "slope_percentile")
STABILITY = indicator("trend_stability", "acceleration")
VOLATILITY = indicator("volatility_level", "zscore_std")
DEVIATION = indicator("deviation_level", "max_abs_deviation")

LIMITS = [
    Limit("magnitude.critical", 99.0, magnitude, "severe", "critical", "critical"),
    Limit("magnitude.severe", 95.0, magnitude, "elevated", "severe", "severe"),
    Limit("magnitude.elevated", 85.0, magnitude, "marginal", "elevated", "elevated"),
    Limit("magnitude.marginal", 75.0, magnitude, "expected", "marginal", "marginal"),
    Limit("magnitude.expected", 25.0, magnitude, "favorable", "expected", "expected"),
    Limit("magnitude.favorable", 10.0, magnitude, "excellent", "favorable", "favorable"),
    Limit("magnitude.critical_zscore", 3.0, magnitude_of_zscore, "expected", "critical", "critical"),
    Limit("magnitude.critical_zscore", -3.0, magnitude_of_zscore, "critical", "critical", "expected"),
    Limit(
        *("trajectory.rapidly_deteriorating", 90.0, trajectory),
        *("deteriorating", "rapidly_deteriorating", "rapidly_deteriorating"),
    ),
    Limit("trajectory.deteriorating", 70.0, trajectory, "stable", "deteriorating", "deteriorating"),
    Limit("trajectory.stable", 30.0, trajectory, "improving", "stable", "stable"),
    Limit("trajectory.improving", 10.0, trajectory, "rapidly_improving", "improving", "improving"),
    Limit("consistency.persistent_below", 0.30, variation, "persistent", "variable", "variable", 0.0001),
    Limit("consistency.variable_up_to", 0.70, variation, "variable", "variable", "transient", 0.0001),
    Limit("consistency.persistent_periods", 6, periods_of_consistency, "variable", "persistent", "persistent", 1),
    Limit("consistency.minimum_periods", 3, periods_of_consistency, "transient", "variable", "variable", 1),
    Limit("indicators.excellent_below", -1.5, LEVEL, "excellent", "favorable", "favorable"),
    Limit("indicators.favorable_below", -0.5, LEVEL, "favorable", "normal", "normal"),
    Limit("indicators.normal_up_to", 0.5, LEVEL, "normal", "normal", "marginal"),
    Limit("indicators.marginal_up_to", 1.0, LEVEL, "marginal", "marginal", "elevated"),
    Limit("indicators.elevated_up_to", 2.0, LEVEL, "elevated", "elevated", "severe"),
    Limit("indicators.rapidly_improving_below", 10.0, DIRECTION, "rapidly_improving", "improving", "improving"),
    Limit("indicators.improving_below", 30.0, DIRECTION, "improving", "stable", "stable"),
    Limit("indicators.stable_below", 70.0, DIRECTION, "stable", "worsening", "worsening"),
    Limit("indicators.worsening_below", 90.0, DIRECTION, "worsening", "rapidly_worsening", "rapidly_worsening"),
    Limit("indicators.neutral_acceleration_up_to", 0.005, STABILITY, "neutral", "neutral", "accelerating"),
    Limit("indicators.neutral_acceleration_up_to", -0.005, STABILITY, "decelerating", "neutral", "neutral"),
    Limit("indicators.consistent_below", 0.5, VOLATILITY, "consistent", "variable", "variable"),
    Limit("indicators.spike_from", 3.0, DEVIATION, "none", "spike", "spike"),
    Limit("types.minimum_periods", 3, type_by_periods, "suspect_data", "baseline", "baseline", 1),
    Limit(
        *("types.critical_zscore_above", 2.0, type_by(s=95.0, d=0.0)),
        *("chronic_underperformer", "chronic_underperformer", "critical_trajectory"),
    ),
    Limit(
        *("types.critical_slope_from", 90.0, type_by(z=2.5, d=0.0)),
        *("chronic_underperformer", "critical_trajectory", "critical_trajectory"),
    ),
    Limit(
        *("types.chronic_zscore_above", 1.0, type_by(s=80.0, d=0.0)),
        *("emerging_risk", "emerging_risk", "chronic_underperformer"),
    ),
    Limit(
        *("types.chronic_slope_from", 70.0, type_by(z=1.5, d=0.0)),
        *("baseline", "chronic_underperformer", "chronic_underperformer"),
    ),
    Limit(
        *("types.volatility_deviation_from", 3.0, type_by(z=0.0, s=50.0)),
        *("baseline", "volatility_alert", "volatility_alert"),
    ),
    Limit("types.recovering_zscore_above", 1.0, type_by(s=20.0, d=0.0), "baseline", "baseline", "recovering"),
    Limit("types.recovering_slope_below", 30.0, type_by(z=1.5, d=0.0), "recovering", "baseline", "baseline"),
    Limit(
        *("types.excellence_zscore_below", -1.5, type_by(s=50.0, d=0.0)),
        *("sustained_excellence", "baseline", "baseline"),
    ),
    Limit(
        *("types.excellence_slope_from", 30.0, type_by(z=-2.0, d=0.0)),
        *("improving_leader", "sustained_excellence", "sustained_excellence"),
    ),
    Limit(
        *("types.excellence_slope_below", 70.0, type_by(z=-2.0, d=0.0)),
        *("sustained_excellence", "baseline", "baseline"),
    ),
    Limit("types.leader_slope_below", 30.0, type_by(z=0.0, d=0.0), "improving_leader", "baseline", "baseline"),
    Limit(
        *("types.leader_zscore_up_to", 0.5, type_by(s=20.0, d=0.0)),
        *("improving_leader", "improving_leader", "baseline"),
    ),
    Limit("types.risk_slope_from", 70.0, type_by(z=0.0, d=0.0), "baseline", "emerging_risk", "emerging_risk"),
    Limit("types.risk_zscore_from", -0.5, type_by(s=80.0, d=0.0), "baseline", "emerging_risk", "emerging_risk"),
    Limit(
        *("types.risk_zscore_up_to", 1.0, type_by(s=80.0, d=0.0)),
        *("emerging_risk", "emerging_risk", "chronic_underperformer"),
    ),
    Limit("inputs.minimum_peers", 2, peers, None, 1.0, 1.0, 1),
    Limit("inputs.acceleration_periods", 12, months_with_an_acceleration, False, True, True, -1),
    # A volatility alert lies in 71-80 with the base 75, and only the slope refines it.
    Limit("refinements.slope_below.0", 20.0, severity_by("s", z=0.0, d=5.0), 73, 74, 74),
    Limit("refinements.slope_below.1", 40.0, severity_by("s", z=0.0, d=5.0), 74, 75, 75),
    Limit("refinements.slope_below.2", 60.0, severity_by("s", z=0.0, d=5.0), 75, 76, 76),
    Limit("refinements.slope_below.3", 80.0, severity_by("s", z=0.0, d=5.0), 76, 77, 77),
    # Without a slope it is a baseline with the base 42, refined by the position alone.
    Limit("refinements.baseline_position_below.0", -1.0, severity_by("z"), 40, 41, 41),
    Limit("refinements.baseline_position_below.1", -0.5, severity_by("z"), 41, 42, 42),
    Limit("refinements.baseline_position_above.0", 1.0, severity_by("z"), 43, 43, 44),
    Limit("refinements.baseline_position_above.1", 0.5, severity_by("z"), 42, 42, 43),
    # An emerging risk has the base 65, one more for a slope percentile of 75.
    Limit("refinements.high_position_above.0", 0.5, severity_by("z", s=75.0, d=0.0), 66, 66, 67),
    Limit("refinements.risk_acceleration_above.0", 0.01, severity_by("a", z=0.0, s=75.0, d=0.0), 67, 67, 68),
    Limit("refinements.risk_acceleration_above.1", 0.005, severity_by("a", z=0.0, s=75.0, d=0.0), 66, 66, 67),
    # An improving leader has the base 19, one less for a slope percentile of 25.
    Limit("refinements.leader_acceleration_below.0", -0.005, severity_by("a", z=0.0, s=25.0, d=0.0), 16, 18, 18),
]


def paths() -> dict[str, float]:
    """Every threshold of the settings by its path, with its default."""
    found: dict[str, float] = {}
    for group, values in SETTINGS.model_dump().items():
        for name, value in values.items():
            if isinstance(value, (int, float)):
                found[f"{group}.{name}"] = value
            elif group != "ranges":
                found |= {f"{group}.{name}.{place}": step[0] for place, step in enumerate(value)}
    # Two that are no limits: what is added beyond the last step, and a divisor.
    del found["refinements.slope_otherwise"], found["inputs.quartiles_per_std"]
    return found


def test_no_threshold_is_forgotten() -> None:
    assert {limit.path for limit in LIMITS} == paths().keys()


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.path}={limit.number:g}")
def test_both_sides_of_each_threshold(limit: Limit) -> None:
    # Some hold on both sides of zero.
    assert paths()[limit.path] in (limit.number, abs(limit.number))
    if limit.step is None:
        below, above = math.nextafter(limit.number, -math.inf), math.nextafter(limit.number, math.inf)
    else:
        below, above = limit.number - abs(limit.step), limit.number + max(limit.step, 0)
    assert [limit.look(value) for value in (below, limit.number, above)] == [limit.below, limit.at, limit.above]


@given(st.floats(0, 100), st.floats(0, 100), st.none() | st.floats(-2.9, 2.9))
def test_a_higher_percentile_is_never_a_better_tier(one: float, other: float, zscore: float | None) -> None:
    order = list(MagnitudeTier)
    low, high = (
        classify(Figures(zscore or 0.0, 0.0, None if zscore is None else 1.0, percentile), SETTINGS).magnitude_tier
        for percentile in sorted((one, other))
    )
    assert low is not None
    assert high is not None
    assert order.index(low) >= order.index(high)


@given(st.floats(0, 100), st.floats(0, 100))
def test_a_steeper_slope_is_never_a_better_tier(one: float, other: float) -> None:
    order = list(TrajectoryTier)
    flat, steep = (order.index(trajectory(slope)) for slope in sorted((one, other)))
    assert flat >= steep
