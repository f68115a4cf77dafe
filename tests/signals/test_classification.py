"""The classification as a whole: worked examples, tiers, indicators and the shape of the result."""

import json
from typing import Any

import pytest

from services.signals.classification import (
    ClassificationSettings,
    Figures,
    classify,
    consistency_tier,
    indicators_of,
    magnitude_tier,
    trajectory_tier,
)
from shared.events.engine import ClassificationInputs, TimelinePoint
from shared.events.vocabulary import ConsistencyTier, MagnitudeTier, MetricPolarity, TrajectoryTier

SETTINGS = ClassificationSettings()
LOWER, HIGHER, TARGET = MetricPolarity


def timeline(*values: float | None) -> list[TimelinePoint]:
    return [TimelinePoint(f"{2016 + i // 12}-{i % 12 + 1:02}", value) for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("inputs", "periods", "signal_type", "severity"),
    [
        ((-0.6328, 17.37, 0.0007, 0.657, 1.598), 12, "improving_leader", 17),
        ((-0.1751, 91.95, 0.0063, 0.797, 1.853), 12, "emerging_risk", 68),
        ((0.0901, 70.76, -0.0432, 0.974, 1.784), 12, "emerging_risk", 66),
        ((1.2465, 90.83, None, 0.409, 1.677), 6, "chronic_underperformer", 88),
    ],
)
def test_the_worked_examples(inputs: Any, periods: int, signal_type: str, severity: int) -> None:
    result = classify(Figures(0.1, inputs=ClassificationInputs(*inputs), period_count=periods), SETTINGS)
    assert (result.simplified_signal_type, result.simplified_severity) == (signal_type, severity)


def test_the_result_is_ready_for_json() -> None:
    figures = Figures(
        metric_value=0.31,
        peer_mean=0.1,
        peer_std=0.1,
        percentile_rank=96.0,
        timeline=timeline(*[0.1, 0.2] * 4),
        inputs=ClassificationInputs(1.2465, 90.83, None, 0.409, 1.677),
    )
    result = classify(figures, SETTINGS)
    assert json.loads(json.dumps([result.simplified_inputs, result.simplified_severity_calculation])) == [
        {
            "aggregate_zscore": 1.2465,
            "slope_percentile": 90.83,
            "acceleration": None,
            "zscore_std": 0.409,
            "max_abs_deviation": 1.677,
        },
        {
            "base_severity": 85,
            "refinements": [
                {"factor": "slope", "adjustment": 2, "reason": "Slope percentile 90.83 is 80 or more."},
                {"factor": "position", "adjustment": 1, "reason": "Z-score 1.25 is above 0.5."},
            ],
            "final_severity": 88,
        },
    ]
    assert json.loads(json.dumps(result.simplified_indicators)) == {
        "magnitude_level": "elevated",
        "trajectory_direction": "rapidly_worsening",
        "trend_stability": "neutral",
        "volatility_level": "consistent",
        "deviation_level": "none",
    }
    assert result.simplified_severity_range == [81, 90]
    assert result.simplified_reasoning == (
        "Chronic underperformer: worse than the peers (z-score 1.25, above 1) "
        "and worsening (slope percentile 90.83, at least 70)."
    )
    assert (result.magnitude_tier, result.trajectory_tier) == ("severe", "rapidly_deteriorating")
    assert result.consistency_tier == "variable"
    assert not result.by_engine


def test_without_any_figures_it_is_a_baseline_without_tiers() -> None:
    result = classify(Figures(0.1), SETTINGS)
    assert (result.simplified_signal_type, result.simplified_severity) == ("baseline", 42)
    assert set(result.simplified_inputs.values()) == {None}
    assert result.simplified_severity_calculation == {
        "base_severity": 42,
        "refinements": [],
        "final_severity": 42,
    }
    assert (result.magnitude_tier, result.trajectory_tier, result.consistency_tier) == (None, None, None)


@pytest.mark.parametrize(
    ("percentile", "tier"),
    [
        (100.0, "critical"), (99.0, "critical"), (98.99, "severe"), (95.0, "severe"), (94.99, "elevated"),
        (85.0, "elevated"), (84.99, "marginal"), (75.0, "marginal"), (74.99, "expected"), (25.0, "expected"),
        (24.99, "favorable"), (10.0, "favorable"), (9.99, "excellent"), (0.0, "excellent"), (None, None),
    ],
)  # fmt: skip
def test_magnitude_by_percentile(percentile: float | None, tier: str | None) -> None:
    assert magnitude_tier(percentile, None, SETTINGS.magnitude) == tier
    assert magnitude_tier(percentile, 2.99, SETTINGS.magnitude) == tier
    assert magnitude_tier(percentile, -2.99, SETTINGS.magnitude) == tier


@pytest.mark.parametrize("zscore", [3.0, 3.5, -3.0, -9.0])
@pytest.mark.parametrize("percentile", [0.5, 50.0, None])
def test_a_far_figure_is_critical_on_either_side(zscore: float, percentile: float | None) -> None:
    assert magnitude_tier(percentile, zscore, SETTINGS.magnitude) is MagnitudeTier.CRITICAL


@pytest.mark.parametrize(
    ("polarity", "sent", "tier"),
    [
        (LOWER, 96.0, "severe"), (LOWER, 4.0, "excellent"), (HIGHER, 4.0, "severe"), (HIGHER, 96.0, "excellent"),
        (TARGET, 50.0, "excellent"), (TARGET, 1.0, "severe"), (TARGET, 99.0, "severe"), (TARGET, 55.0, "favorable"),
        (TARGET, 12.5, "marginal"), (TARGET, 99.5, "critical"), (TARGET, 0.5, "critical"),
    ],
)  # fmt: skip
def test_the_engines_percentile_is_of_the_raw_value(polarity: MetricPolarity, sent: float, tier: str) -> None:
    assert classify(Figures(1.0, percentile_rank=sent, polarity=polarity), SETTINGS).magnitude_tier == tier


@pytest.mark.parametrize(
    ("slope_percentile", "tier"),
    [
        (100.0, "rapidly_deteriorating"), (90.0, "rapidly_deteriorating"), (89.99, "deteriorating"),
        (70.0, "deteriorating"), (69.99, "stable"), (30.0, "stable"), (29.99, "improving"), (10.0, "improving"),
        (9.99, "rapidly_improving"), (0.0, "rapidly_improving"), (None, None),
    ],
)  # fmt: skip
def test_trajectory(slope_percentile: float | None, tier: str | None) -> None:
    assert trajectory_tier(slope_percentile, SETTINGS.trajectory) == tier


@pytest.mark.parametrize("polarity", list(MetricPolarity))
def test_the_slope_input_is_turned_already(polarity: MetricPolarity) -> None:
    figures = Figures(1.0, polarity=polarity, inputs=ClassificationInputs(slope_percentile=95.0))
    assert classify(figures, SETTINGS).trajectory_tier is TrajectoryTier.RAPIDLY_DETERIORATING


def varying(variation: float) -> list[float]:
    """Values with this coefficient of variation, to the last digit."""
    return [100 - 100 * variation, 100 + 100 * variation]


@pytest.mark.parametrize(
    ("values", "periods", "tier"),
    [
        (varying(0.25), 6, "persistent"), (varying(0.25), 5, "variable"), (varying(0.25), 3, "variable"),
        (varying(0.25), 2, "transient"), (varying(0.29), 6, "persistent"), (varying(0.30), 6, "variable"),
        (varying(0.70), 6, "variable"), (varying(0.70), 3, "variable"), (varying(0.71), 6, "transient"),
        (varying(0.71), 2, "transient"), ([0.0, 0.0], 6, "transient"), ([-1.0, 1.0], 6, "transient"),
        ([], 2, "transient"), ([], 6, None), (varying(0.25), None, None), ([], None, None),
        ([-75.0, -125.0], 6, "persistent"),
    ],
)  # fmt: skip
def test_consistency(values: list[float], periods: int | None, tier: str | None) -> None:
    assert consistency_tier(values, periods, SETTINGS.consistency) == tier


@pytest.mark.parametrize("polarity", list(MetricPolarity))
def test_consistency_is_that_of_the_raw_timeline(polarity: MetricPolarity) -> None:
    """A metric that never leaves its target is steady, although its turned values are all 0."""
    figures = Figures(0.5, polarity=polarity, target_range=(0.0, 1.0), timeline=timeline(*[0.45, 0.55] * 3))
    assert classify(figures, SETTINGS).consistency_tier is ConsistencyTier.PERSISTENT


@pytest.mark.parametrize(
    ("values", "period_count", "suspect", "tier"),
    [
        ((0.5, 0.5, 0.5), None, False, "variable"),
        ((0.5, 0.5), None, True, "transient"),
        ((0.5, None, 0.5), None, True, "transient"),  # a month without a value is no figure
        ((0.5, 0.5), 3, False, "variable"),  # what the engine says goes before what it sends
        ((0.5, 0.5, 0.5, 0.5), 2, True, "transient"),
        ((), 2, True, "transient"),
        ((), 3, False, None),
        ((), None, False, None),
    ],
)
def test_periods(values: tuple[float | None, ...], period_count: int | None, suspect: bool, tier: str | None) -> None:
    result = classify(Figures(0.5, timeline=timeline(*values), period_count=period_count), SETTINGS)
    assert (result.simplified_signal_type == "suspect_data") is suspect
    assert result.consistency_tier == tier


@pytest.mark.parametrize(
    ("zscore", "level"),
    [
        (-1.51, "excellent"), (-1.5, "favorable"), (-0.51, "favorable"), (-0.5, "normal"), (0.5, "normal"),
        (0.51, "marginal"), (1.0, "marginal"), (1.01, "elevated"), (2.0, "elevated"), (2.01, "severe"), (None, None),
    ],
)  # fmt: skip
def test_magnitude_level(zscore: float | None, level: str | None) -> None:
    found = indicators_of(ClassificationInputs(aggregate_zscore=zscore), SETTINGS.indicators)
    assert found["magnitude_level"] == level


@pytest.mark.parametrize(
    ("slope_percentile", "direction"),
    [
        (0.0, "rapidly_improving"), (9.99, "rapidly_improving"), (10.0, "improving"), (29.99, "improving"),
        (30.0, "stable"), (69.99, "stable"), (70.0, "worsening"), (89.99, "worsening"), (90.0, "rapidly_worsening"),
        (100.0, "rapidly_worsening"), (None, "stable"),
    ],
)  # fmt: skip
def test_trajectory_direction(slope_percentile: float | None, direction: str) -> None:
    found = indicators_of(ClassificationInputs(slope_percentile=slope_percentile), SETTINGS.indicators)
    assert found["trajectory_direction"] == direction


@pytest.mark.parametrize(
    ("acceleration", "stability"),
    [
        (0.005, "neutral"), (-0.005, "neutral"), (0.0, "neutral"), (None, "neutral"),
        (0.0051, "accelerating"), (-0.0051, "decelerating"),
    ],
)  # fmt: skip
def test_trend_stability(acceleration: float | None, stability: str) -> None:
    found = indicators_of(ClassificationInputs(acceleration=acceleration), SETTINGS.indicators)
    assert found["trend_stability"] == stability


@pytest.mark.parametrize(
    ("zscore_std", "level"), [(0.49, "consistent"), (0.5, "variable"), (0.0, "consistent"), (None, None)]
)
def test_volatility_level(zscore_std: float | None, level: str | None) -> None:
    found = indicators_of(ClassificationInputs(zscore_std=zscore_std), SETTINGS.indicators)
    assert found["volatility_level"] == level


@pytest.mark.parametrize(("deviation", "level"), [(2.99, "none"), (3.0, "spike"), (None, None)])
def test_deviation_level(deviation: float | None, level: str | None) -> None:
    found = indicators_of(ClassificationInputs(max_abs_deviation=deviation), SETTINGS.indicators)
    assert found["deviation_level"] == level
