"""The nine types and their severities."""

from msgspec import Struct

from services.signals.classification_settings import (
    ClassificationSettings,
    SeverityRefinements,
    Step,
    StepsAbove,
    StepsBelow,
    TypeThresholds,
)
from shared.events.engine import ClassificationInputs, SeverityCalculation, SeverityRefinement
from shared.events.vocabulary import SignalType

_SUSPECT_DATA = SignalType.SUSPECT_DATA
_CRITICAL_TRAJECTORY = SignalType.CRITICAL_TRAJECTORY
_CHRONIC_UNDERPERFORMER = SignalType.CHRONIC_UNDERPERFORMER
_VOLATILITY_ALERT = SignalType.VOLATILITY_ALERT
_RECOVERING = SignalType.RECOVERING
_SUSTAINED_EXCELLENCE = SignalType.SUSTAINED_EXCELLENCE
_IMPROVING_LEADER = SignalType.IMPROVING_LEADER
_EMERGING_RISK = SignalType.EMERGING_RISK
_BASELINE = SignalType.BASELINE

_SCORED_BY_HIGH_POSITION = frozenset({_EMERGING_RISK, _CHRONIC_UNDERPERFORMER, _CRITICAL_TRAJECTORY})


class Verdict(Struct, frozen=True):
    """The rule that matched, and why in one sentence."""

    signal_type: SignalType
    reasoning: str


def verdict(inputs: ClassificationInputs, periods: int | None, suppressed: bool, t: TypeThresholds) -> Verdict:
    """The first rule that matches; a comparison with a missing input is false."""
    if suppressed:
        return Verdict(_SUSPECT_DATA, "Suspect data: the engine suppressed these figures.")
    if periods is not None and periods < t.minimum_periods:
        months = "1 month" if periods == 1 else f"{periods} months"
        return Verdict(_SUSPECT_DATA, f"Suspect data: {months} of figures, fewer than {t.minimum_periods}.")

    z, s, d = inputs.aggregate_zscore, inputs.slope_percentile, inputs.max_abs_deviation
    if s is None:
        position = "" if z is None else f"; the z-score is {z:.2f}"
        return Verdict(_BASELINE, f"Baseline: the trend's place among the peers is not known{position}.")

    if z is not None:
        if z > t.critical_zscore_above and s >= t.critical_slope_from:
            return Verdict(
                _CRITICAL_TRAJECTORY,
                f"Critical trajectory: far worse than the peers (z-score {z:.2f}, above {t.critical_zscore_above:g}) "
                f"and worsening fast (slope percentile {s:.2f}, at least {t.critical_slope_from:g}).",
            )
        if z > t.chronic_zscore_above and s >= t.chronic_slope_from:
            return Verdict(
                _CHRONIC_UNDERPERFORMER,
                f"Chronic underperformer: worse than the peers (z-score {z:.2f}, above {t.chronic_zscore_above:g}) "
                f"and worsening (slope percentile {s:.2f}, at least {t.chronic_slope_from:g}).",
            )
    if d is not None and d >= t.volatility_deviation_from:
        return Verdict(
            _VOLATILITY_ALERT,
            f"Volatility alert: one month lay {d:.2f} standard deviations from the peers "
            f"(at least {t.volatility_deviation_from:g}).",
        )
    if z is not None:
        if z > t.recovering_zscore_above and s < t.recovering_slope_below:
            return Verdict(
                _RECOVERING,
                f"Recovering: still worse than the peers (z-score {z:.2f}, above {t.recovering_zscore_above:g}) "
                f"but improving (slope percentile {s:.2f}, below {t.recovering_slope_below:g}).",
            )
        if z < t.excellence_zscore_below and t.excellence_slope_from <= s < t.excellence_slope_below:
            return Verdict(
                _SUSTAINED_EXCELLENCE,
                f"Sustained excellence: far better than the peers (z-score {z:.2f}, "
                f"below {t.excellence_zscore_below:g}) and steady (slope percentile {s:.2f}, from "
                f"{t.excellence_slope_from:g} to below {t.excellence_slope_below:g}).",
            )
        if s < t.leader_slope_below and z <= t.leader_zscore_up_to:
            return Verdict(
                _IMPROVING_LEADER,
                f"Improving leader: improving (slope percentile {s:.2f}, below {t.leader_slope_below:g}) "
                f"and no worse than the peers (z-score {z:.2f}, at most {t.leader_zscore_up_to:g}).",
            )
        if s >= t.risk_slope_from and t.risk_zscore_from <= z <= t.risk_zscore_up_to:
            return Verdict(
                _EMERGING_RISK,
                f"Emerging risk: worsening (slope percentile {s:.2f}, at least {t.risk_slope_from:g}) "
                f"near the peers' middle (z-score {z:.2f}, from {t.risk_zscore_from:g} to {t.risk_zscore_up_to:g}).",
            )
        return Verdict(
            _BASELINE,
            f"Baseline: z-score {z:.2f} and slope percentile {s:.2f} together match no other rule.",
        )
    return Verdict(_BASELINE, f"Baseline: slope percentile {s:.2f}, but the place among the peers is not known.")


def severity_range(signal_type: SignalType, settings: ClassificationSettings) -> tuple[int, int]:
    """Lowest and highest severity of a type."""
    found: tuple[int, int] = getattr(settings.ranges, signal_type)
    return found


def severity_calculation(
    signal_type: SignalType, inputs: ClassificationInputs, settings: ClassificationSettings
) -> SeverityCalculation:
    """The severity of a type with its breakdown; base and adjustments always add up to the final severity."""
    low, high = severity_range(signal_type, settings)
    base = (low + high) // 2
    refinements: list[SeverityRefinement] = []
    if signal_type is not _SUSPECT_DATA:
        refinements = _refinements(signal_type, inputs, settings.refinements)
    final = base
    for refinement in refinements:
        final += refinement.adjustment
    clamped = min(max(final, low), high)
    if clamped != final:
        refinements.append(SeverityRefinement("range_clamp", clamped - final, f"Kept within the range {low}-{high}."))
    return SeverityCalculation(base, refinements, clamped)


def _refinements(
    signal_type: SignalType, inputs: ClassificationInputs, rules: SeverityRefinements
) -> list[SeverityRefinement]:
    z, s, a = inputs.aggregate_zscore, inputs.slope_percentile, inputs.acceleration
    found: list[SeverityRefinement] = []
    if s is not None:
        step = _step_below(s, rules.slope_below)
        if step is None:
            step = Step(rules.slope_below[-1].threshold, rules.slope_otherwise)
            _add(found, "slope", step, f"Slope percentile {s:.2f} is {step.threshold:g} or more.")
        else:
            _add(found, "slope", step, f"Slope percentile {s:.2f} is below {step.threshold:g}.")
    if z is not None:
        if signal_type is _BASELINE:
            _add_below(found, "position", f"Z-score {z:.2f}", z, rules.baseline_position_below)
            _add_above(found, "position", f"Z-score {z:.2f}", z, rules.baseline_position_above)
        elif signal_type in _SCORED_BY_HIGH_POSITION:
            _add_above(found, "position", f"Z-score {z:.2f}", z, rules.high_position_above)
    if a is not None:
        if signal_type is _EMERGING_RISK:
            _add_above(found, "acceleration", f"Acceleration {a:.4f}", a, rules.risk_acceleration_above)
        elif signal_type is _IMPROVING_LEADER:
            _add_below(found, "acceleration", f"Acceleration {a:.4f}", a, rules.leader_acceleration_below)
    return found


def _step_below(value: float, steps: StepsBelow) -> Step | None:
    for step in steps:
        if value < step.threshold:
            return step
    return None


def _add_below(found: list[SeverityRefinement], factor: str, subject: str, value: float, steps: StepsBelow) -> None:
    step = _step_below(value, steps)
    if step is not None:
        _add(found, factor, step, f"{subject} is below {step.threshold:g}.")


def _add_above(found: list[SeverityRefinement], factor: str, subject: str, value: float, steps: StepsAbove) -> None:
    for step in steps:
        if value > step.threshold:
            _add(found, factor, step, f"{subject} is above {step.threshold:g}.")
            return


def _add(found: list[SeverityRefinement], factor: str, step: Step, reason: str) -> None:
    # What changes nothing would only make the breakdown longer.
    if step.adjustment:
        found.append(SeverityRefinement(factor, step.adjustment, reason))
