"""What the engine classified itself: checked, kept, and completed where it left something out."""

from services.signals.classification_inputs import SentClassification
from services.signals.classification_rules import severity_range
from services.signals.classification_settings import ClassificationSettings
from shared.events.engine import ClassificationInputs, SeverityCalculation, SeverityRefinement
from shared.events.vocabulary import SignalType


def refusal(sent: SentClassification, settings: ClassificationSettings) -> str | None:
    """Why what the engine sent cannot be kept, in one sentence, or None where it can.

    Each part is checked also where type or severity is missing and the rest will be computed anew: a broken part says
    that the engine is wrong, whatever we would make of it.
    """
    severity, bounds, calculation = sent.severity, sent.severity_range, sent.calculation
    if severity is not None and not 0 <= severity <= 100:
        return f"simplified_severity {severity} is outside 0-100."
    if bounds is not None:
        if len(bounds) != 2 or not 0 <= bounds[0] <= bounds[1] <= 100:
            return f"simplified_severity_range {list(bounds)} is not a range within 0-100, lowest first."
        whose = "simplified_severity_range"
    elif sent.signal_type is not None:
        bounds = severity_range(sent.signal_type, settings)
        whose = f"the range of {sent.signal_type}"
    if severity is not None and bounds is not None and not bounds[0] <= severity <= bounds[1]:
        return f"simplified_severity {severity} is outside {whose}, {bounds[0]}-{bounds[1]}."
    if calculation is not None:
        return _refused_calculation(calculation, severity)
    return None


def _refused_calculation(calculation: SeverityCalculation, severity: int | None) -> str | None:
    adjustments = sum(refinement.adjustment for refinement in calculation.refinements)
    if calculation.base_severity + adjustments != calculation.final_severity:
        return (
            f"simplified_severity_calculation does not add up: base {calculation.base_severity} and "
            f"refinements {adjustments:+d} are not the final severity {calculation.final_severity}."
        )
    if severity is not None and calculation.final_severity != severity:
        return (
            f"simplified_severity_calculation ends at {calculation.final_severity}, "
            f"but simplified_severity is {severity}."
        )
    return None


def completed_calculation(sent: SentClassification, severity: int, bounds: tuple[int, int]) -> SeverityCalculation:
    """The engine's breakdown, or one from the middle of the range to the engine's severity in a single step.

    Our own refinements would claim to know how the engine came to its severity.
    """
    if sent.calculation is not None:
        return sent.calculation
    base = (bounds[0] + bounds[1]) // 2
    refinements = []
    if severity != base:
        refinements.append(SeverityRefinement("engine", severity - base, f"The engine sent a severity of {severity}."))
    return SeverityCalculation(base, refinements, severity)


def completed_reasoning(
    sent: SentClassification, signal_type: SignalType, severity: int, inputs: ClassificationInputs
) -> str:
    """The engine's reasoning, or a sentence that says that the engine classified, with the inputs that are known."""
    if sent.reasoning:
        return sent.reasoning
    known = ", ".join(
        f"{name} {value:.2f}"
        for name, value in (
            ("z-score", inputs.aggregate_zscore),
            ("slope percentile", inputs.slope_percentile),
            ("largest monthly deviation", inputs.max_abs_deviation),
        )
        if value is not None
    )
    name = signal_type.replace("_", " ").capitalize()
    return f"{name}: classified by the engine with severity {severity}{f' ({known})' if known else ''}."
