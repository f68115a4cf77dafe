"""What the engine classified itself: refused where it is broken, kept and completed where it is not."""

from typing import Any

import pytest

from services.signals.classification import ClassificationSettings, Figures, SentClassification, classify, refusal
from shared.events.engine import ClassificationInputs, SeverityCalculation, SeverityRefinement
from shared.events.vocabulary import SignalType

SETTINGS = ClassificationSettings()
RISK = SignalType.EMERGING_RISK


def calculation(base: int, final: int, *adjustments: int) -> SeverityCalculation:
    refinements = [SeverityRefinement("slope", adjustment, "") for adjustment in adjustments]
    return SeverityCalculation(base, refinements, final)


@pytest.mark.parametrize(
    "sent",
    [
        SentClassification(),
        SentClassification(RISK),
        SentClassification(None, 0),
        SentClassification(None, 100),
        SentClassification(RISK, 60),
        SentClassification(RISK, 70),
        SentClassification(RISK, 60, (60, 70)),
        SentClassification(RISK, 90, (80, 90)),
        SentClassification(None, 50, (50, 50)),
        SentClassification(RISK, None, (0, 100)),
        SentClassification(RISK, 67, calculation=calculation(65, 67, 1, 1)),
        SentClassification(RISK, 65, calculation=calculation(65, 65)),
        SentClassification(calculation=calculation(10, 12, 2)),
    ],
)
def test_what_is_sound_is_not_refused(sent: SentClassification) -> None:
    assert refusal(sent, SETTINGS) is None


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (SentClassification(None, 101), "simplified_severity 101 is outside 0-100."),
        (SentClassification(RISK, -1), "simplified_severity -1 is outside 0-100."),
        (SentClassification(RISK, 59), "simplified_severity 59 is outside the range of emerging_risk, 60-70."),
        (SentClassification(RISK, 71), "simplified_severity 71 is outside the range of emerging_risk, 60-70."),
        (SentClassification(RISK, 71, (60, 70)), "simplified_severity 71 is outside simplified_severity_range, 60-70."),
        (SentClassification(None, 59, (60, 70)), "simplified_severity 59 is outside simplified_severity_range, 60-70."),
        (
            SentClassification(RISK, 65, (70, 60)),
            "simplified_severity_range [70, 60] is not a range within 0-100, lowest first.",
        ),
        (
            SentClassification(None, None, (60, 101)),
            "simplified_severity_range [60, 101] is not a range within 0-100, lowest first.",
        ),
        (
            SentClassification(None, None, (-1, 50)),
            "simplified_severity_range [-1, 50] is not a range within 0-100, lowest first.",
        ),
        (
            SentClassification(RISK, 65, (60, 65, 70)),
            "simplified_severity_range [60, 65, 70] is not a range within 0-100, lowest first.",
        ),
        (
            SentClassification(RISK, 67, calculation=calculation(65, 67, 1)),
            "simplified_severity_calculation does not add up: "
            "base 65 and refinements +1 are not the final severity 67.",
        ),
        (
            SentClassification(calculation=calculation(65, 65, -1)),
            "simplified_severity_calculation does not add up: "
            "base 65 and refinements -1 are not the final severity 65.",
        ),
        (
            SentClassification(RISK, 66, calculation=calculation(65, 67, 2)),
            "simplified_severity_calculation ends at 67, but simplified_severity is 66.",
        ),
    ],
)
def test_what_is_broken_is_refused_with_a_reason(sent: SentClassification, reason: str) -> None:
    assert refusal(sent, SETTINGS) == reason


INPUTS = ClassificationInputs(2.5, 95.0, None, 0.2, 1.0)


def kept(**parts: Any) -> Any:
    sent = SentClassification(RISK, 68, **parts)
    return classify(Figures(0.1, period_count=2, suppressed=True, inputs=INPUTS, sent=sent), SETTINGS)


def test_the_engines_type_and_severity_are_kept_whatever_the_inputs_say() -> None:
    result = kept()
    assert (result.simplified_signal_type, result.simplified_severity, result.by_engine) == (RISK, 68, True)


def test_what_the_engine_left_out_is_filled_in_without_contradiction() -> None:
    result = kept()
    assert result.simplified_severity_range == [60, 70]
    assert result.simplified_severity_calculation == {
        "base_severity": 65,
        "refinements": [{"factor": "engine", "adjustment": 3, "reason": "The engine sent a severity of 68."}],
        "final_severity": 68,
    }
    assert result.simplified_reasoning == (
        "Emerging risk: classified by the engine with severity 68 "
        "(z-score 2.50, slope percentile 95.00, largest monthly deviation 1.00)."
    )
    assert result.simplified_indicators["magnitude_level"] == "severe"
    assert result.simplified_inputs["aggregate_zscore"] == 2.5
    assert result.trajectory_tier == "rapidly_deteriorating"


def test_a_severity_in_the_middle_of_the_range_needs_no_refinement() -> None:
    sent = SentClassification(RISK, 44, (40, 49))
    result = classify(Figures(0.1, sent=sent), SETTINGS)
    assert result.simplified_severity_range == [40, 49]
    assert result.simplified_severity_calculation == {"base_severity": 44, "refinements": [], "final_severity": 44}
    assert result.simplified_reasoning == "Emerging risk: classified by the engine with severity 44."


def test_every_part_that_was_sent_is_kept() -> None:
    result = kept(
        severity_range=(61, 69),
        indicators={"magnitude_level": "normal", "mood": "calm"},
        reasoning="Because.",
        calculation=calculation(60, 68, 8),
    )
    assert result.simplified_severity_range == [61, 69]
    assert result.simplified_reasoning == "Because."
    assert result.simplified_severity_calculation == {
        "base_severity": 60,
        "refinements": [{"factor": "slope", "adjustment": 8, "reason": ""}],
        "final_severity": 68,
    }
    assert result.simplified_indicators == {
        "magnitude_level": "normal",
        "trajectory_direction": "rapidly_worsening",
        "trend_stability": "neutral",
        "volatility_level": "consistent",
        "deviation_level": "none",
        "mood": "calm",
    }


@pytest.mark.parametrize("sent", [SentClassification(RISK), SentClassification(None, 68), SentClassification()])
def test_type_or_severity_alone_is_no_classification(sent: SentClassification) -> None:
    leftovers = SentClassification(
        sent.signal_type, sent.severity, (60, 70), {"magnitude_level": "normal"}, "Because.", calculation(68, 68)
    )
    figures = Figures(0.1, inputs=INPUTS, sent=leftovers)
    assert classify(figures, SETTINGS) == classify(Figures(0.1, inputs=INPUTS), SETTINGS)
