"""The classification of a signal: three tiers, five inputs with their indicators, one of nine types and a severity.

Pure functions without any input or output. `refusal` checks what the engine classified itself; `classify` keeps it, or
computes everything from the figures.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from services.signals.classification_inputs import (
    Figures,
    SentClassification,
    classification_inputs,
    single_zscore,
    turned_percentile,
)
from services.signals.classification_rules import severity_calculation, severity_range, verdict
from services.signals.classification_sent import completed_calculation, completed_reasoning, refusal
from services.signals.classification_settings import (
    ClassificationSettings,
    ConsistencyThresholds,
    IndicatorThresholds,
    MagnitudeThresholds,
    TrajectoryThresholds,
)
from shared.events.engine import ClassificationInputs, SeverityCalculation
from shared.events.vocabulary import ConsistencyTier, MagnitudeTier, SignalType, TrajectoryTier
from shared.statistics import coefficient_of_variation

__all__ = [
    "Classification",
    "ClassificationSettings",
    "Figures",
    "SentClassification",
    "classify",
    "refusal",
]

Indicators = dict[str, str | None]
"""The five indicators by name; null where the input is missing and the rules name no reading for that."""


class Classification(Struct, frozen=True):
    """A signal's place in all three gradings. Tiers are None where the figures do not have what they need.

    The `simplified_*` attributes are JSON-ready, in the shapes of the columns of the same names.
    """

    simplified_signal_type: SignalType
    simplified_severity: int
    simplified_severity_range: list[int]
    simplified_inputs: dict[str, float | None]
    simplified_indicators: Indicators
    simplified_reasoning: str
    simplified_severity_calculation: dict[str, Any]
    magnitude_tier: MagnitudeTier | None
    trajectory_tier: TrajectoryTier | None
    consistency_tier: ConsistencyTier | None
    by_engine: bool


def classify(figures: Figures, settings: ClassificationSettings) -> Classification:
    """Classify one signal; what the engine classified (and `refusal` let pass) is kept and completed."""
    single = single_zscore(figures)
    inputs = classification_inputs(figures, single, settings.inputs)
    values = [value for point in figures.timeline if (value := point.value) is not None]
    periods = figures.period_count
    if periods is None and figures.timeline:
        periods = len(values)

    sent = figures.sent
    indicators = indicators_of(inputs, settings.indicators)
    if sent is not None and sent.signal_type is not None and sent.severity is not None:
        signal_type, severity = sent.signal_type, sent.severity
        low, high = sent.severity_range or severity_range(signal_type, settings)
        calculation = completed_calculation(sent, severity, (low, high))
        reasoning = completed_reasoning(sent, signal_type, severity, inputs)
        indicators.update(sent.indicators or {})
        by_engine = True
    else:
        matched = verdict(inputs, periods, figures.suppressed, settings.types)
        signal_type, reasoning = matched.signal_type, matched.reasoning
        low, high = severity_range(signal_type, settings)
        calculation = severity_calculation(signal_type, inputs, settings)
        severity = calculation.final_severity
        by_engine = False

    percentile = turned_percentile(figures.percentile_rank, figures.polarity)
    return Classification(
        signal_type,
        severity,
        [low, high],
        {
            "aggregate_zscore": inputs.aggregate_zscore,
            "slope_percentile": inputs.slope_percentile,
            "acceleration": inputs.acceleration,
            "zscore_std": inputs.zscore_std,
            "max_abs_deviation": inputs.max_abs_deviation,
        },
        indicators,
        reasoning,
        _calculation_json(calculation),
        magnitude_tier(percentile, single, settings.magnitude),
        trajectory_tier(inputs.slope_percentile, settings.trajectory),
        consistency_tier(values, periods, settings.consistency),
        by_engine,
    )


def magnitude_tier(percentile: float | None, zscore: float | None, t: MagnitudeThresholds) -> MagnitudeTier | None:
    """The tier of a turned percentile; a z-score far out on either side is critical by itself."""
    if zscore is not None and abs(zscore) >= t.critical_zscore:
        return MagnitudeTier.CRITICAL
    if percentile is None:
        return None
    if percentile >= t.marginal:
        if percentile >= t.elevated:
            if percentile >= t.critical:
                return MagnitudeTier.CRITICAL
            return MagnitudeTier.SEVERE if percentile >= t.severe else MagnitudeTier.ELEVATED
        return MagnitudeTier.MARGINAL
    if percentile >= t.expected:
        return MagnitudeTier.EXPECTED
    return MagnitudeTier.FAVORABLE if percentile >= t.favorable else MagnitudeTier.EXCELLENT


def trajectory_tier(slope_percentile: float | None, t: TrajectoryThresholds) -> TrajectoryTier | None:
    """The tier of a turned slope percentile."""
    if slope_percentile is None:
        return None
    if slope_percentile >= t.deteriorating:
        if slope_percentile >= t.rapidly_deteriorating:
            return TrajectoryTier.RAPIDLY_DETERIORATING
        return TrajectoryTier.DETERIORATING
    if slope_percentile >= t.stable:
        return TrajectoryTier.STABLE
    return TrajectoryTier.IMPROVING if slope_percentile >= t.improving else TrajectoryTier.RAPIDLY_IMPROVING


def consistency_tier(values: Sequence[float], periods: int | None, t: ConsistencyThresholds) -> ConsistencyTier | None:
    """The tier of a timeline's raw values; few periods are transient whatever they are."""
    if periods is not None and periods < t.minimum_periods:
        return ConsistencyTier.TRANSIENT
    if periods is None or not values:
        return None
    variation = coefficient_of_variation(values)
    if variation < t.persistent_below and periods >= t.persistent_periods:
        return ConsistencyTier.PERSISTENT
    return ConsistencyTier.VARIABLE if variation <= t.variable_up_to else ConsistencyTier.TRANSIENT


def indicators_of(inputs: ClassificationInputs, t: IndicatorThresholds) -> Indicators:
    """The categorical reading of each input."""
    return {
        "magnitude_level": _magnitude_level(inputs.aggregate_zscore, t),
        "trajectory_direction": _trajectory_direction(inputs.slope_percentile, t),
        "trend_stability": _trend_stability(inputs.acceleration, t),
        "volatility_level": _volatility_level(inputs.zscore_std, t),
        "deviation_level": _deviation_level(inputs.max_abs_deviation, t),
    }


def _magnitude_level(z: float | None, t: IndicatorThresholds) -> str | None:
    if z is None:
        return None
    if z <= t.normal_up_to:
        if z < t.favorable_below:
            return "excellent" if z < t.excellent_below else "favorable"
        return "normal"
    if z <= t.marginal_up_to:
        return "marginal"
    return "elevated" if z <= t.elevated_up_to else "severe"


def _trajectory_direction(s: float | None, t: IndicatorThresholds) -> str:
    if s is None:
        return "stable"
    if s < t.improving_below:
        return "rapidly_improving" if s < t.rapidly_improving_below else "improving"
    if s < t.stable_below:
        return "stable"
    return "worsening" if s < t.worsening_below else "rapidly_worsening"


def _trend_stability(a: float | None, t: IndicatorThresholds) -> str:
    if a is None or abs(a) <= t.neutral_acceleration_up_to:
        return "neutral"
    return "accelerating" if a > 0 else "decelerating"


def _volatility_level(zscore_std: float | None, t: IndicatorThresholds) -> str | None:
    if zscore_std is None:
        return None
    return "consistent" if zscore_std < t.consistent_below else "variable"


def _deviation_level(d: float | None, t: IndicatorThresholds) -> str | None:
    if d is None:
        return None
    return "spike" if d >= t.spike_from else "none"


def _calculation_json(calculation: SeverityCalculation) -> dict[str, Any]:
    return {
        "base_severity": calculation.base_severity,
        "refinements": [
            {"factor": r.factor, "adjustment": r.adjustment, "reason": r.reason} for r in calculation.refinements
        ],
        "final_severity": calculation.final_severity,
    }
