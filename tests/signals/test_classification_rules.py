"""The nine types and the severity refinements, every boundary on both sides."""

import pytest

from services.signals.classification_rules import severity_calculation, severity_range, verdict
from services.signals.classification_settings import ClassificationSettings, SeverityRanges
from shared.events.engine import ClassificationInputs, SeverityRefinement
from shared.events.vocabulary import SignalType

SETTINGS = ClassificationSettings()
Number = float | None


def type_of(z: Number, s: Number, d: Number = 1.0, periods: int | None = 12, suppressed: bool = False) -> str:
    inputs = ClassificationInputs(aggregate_zscore=z, slope_percentile=s, max_abs_deviation=d)
    return verdict(inputs, periods, suppressed, SETTINGS.types).signal_type


@pytest.mark.parametrize(
    ("z", "s", "expected"),
    [
        # critical_trajectory
        (2.01, 90.0, "critical_trajectory"), (2.0, 90.0, "chronic_underperformer"),
        (2.01, 89.99, "chronic_underperformer"), (9.0, 100.0, "critical_trajectory"),
        # chronic_underperformer
        (1.01, 70.0, "chronic_underperformer"), (1.0, 70.0, "emerging_risk"), (1.01, 69.99, "baseline"),
        # recovering
        (1.01, 29.99, "recovering"), (1.0, 29.99, "baseline"), (1.01, 30.0, "baseline"), (9.0, 0.0, "recovering"),
        # sustained_excellence
        (-1.51, 30.0, "sustained_excellence"), (-1.51, 69.99, "sustained_excellence"), (-1.5, 50.0, "baseline"),
        (-1.51, 29.99, "improving_leader"), (-1.51, 70.0, "baseline"),
        # improving_leader
        (0.5, 29.99, "improving_leader"), (0.51, 29.99, "baseline"), (0.5, 30.0, "baseline"),
        (-9.0, 0.0, "improving_leader"),
        # emerging_risk
        (-0.5, 70.0, "emerging_risk"), (-0.51, 70.0, "baseline"), (-0.5, 69.99, "baseline"),
        (1.0, 100.0, "emerging_risk"),
        # otherwise
        (0.0, 50.0, "baseline"),
    ],
)  # fmt: skip
def test_type_by_position_and_slope(z: float, s: float, expected: str) -> None:
    assert type_of(z, s) == expected
    assert type_of(z, s, d=None) == expected
    assert type_of(z, s, periods=None) == expected


@pytest.mark.parametrize(
    ("z", "s", "d", "expected"),
    [
        (0.0, 50.0, 3.0, "volatility_alert"), (0.0, 50.0, 2.99, "baseline"),
        # it goes before recovering, sustained_excellence, improving_leader and emerging_risk, after the first two
        (1.5, 20.0, 3.0, "volatility_alert"), (-2.0, 50.0, 3.0, "volatility_alert"),
        (0.0, 20.0, 3.0, "volatility_alert"), (0.0, 80.0, 3.0, "volatility_alert"),
        (1.5, 80.0, 3.0, "chronic_underperformer"), (2.5, 95.0, 3.0, "critical_trajectory"),
        (None, 50.0, 3.0, "volatility_alert"),
    ],
)  # fmt: skip
def test_volatility(z: Number, s: Number, d: Number, expected: str) -> None:
    assert type_of(z, s, d) == expected


@pytest.mark.parametrize("z", [-9.0, 0.0, 9.0, None])
@pytest.mark.parametrize("d", [0.0, 9.0, None])
def test_without_a_slope_it_is_a_baseline(z: Number, d: Number) -> None:
    assert type_of(z, None, d) == "baseline"


@pytest.mark.parametrize("s", [0.0, 29.0, 50.0, 70.0, 100.0])
def test_comparisons_with_a_missing_zscore_are_false(s: float) -> None:
    assert type_of(None, s) == "baseline"
    assert type_of(None, s, None) == "baseline"


@pytest.mark.parametrize(
    ("periods", "suppressed", "suspect"),
    [(0, False, True), (2, False, True), (3, False, False), (None, False, False), (24, True, True), (None, True, True)],
)
def test_suspect_data_goes_first(periods: int | None, suppressed: bool, suspect: bool) -> None:
    for z, s, d, otherwise in ((2.5, 95.0, 4.0, "critical_trajectory"), (None, None, None, "baseline")):
        expected = "suspect_data" if suspect else otherwise
        assert type_of(z, s, d, periods, suppressed) == expected


@pytest.mark.parametrize(
    ("z", "s", "d", "periods", "suppressed", "sentence"),
    [
        (0.0, 50.0, 0.0, 12, True, "Suspect data: the engine suppressed these figures."),
        (0.0, 50.0, 0.0, 2, False, "Suspect data: 2 months of figures, fewer than 3."),
        (0.0, 50.0, 0.0, 1, False, "Suspect data: 1 month of figures, fewer than 3."),
        (None, None, None, 12, False, "Baseline: the trend's place among the peers is not known."),
        (0.4, None, 1.0, 12, False, "Baseline: the trend's place among the peers is not known; the z-score is 0.40."),
        (2.31, 93.2, 1.0, 12, False, "Critical trajectory: far worse than the peers (z-score 2.31, above 2) "
         "and worsening fast (slope percentile 93.20, at least 90)."),
        (0.0, 50.0, 3.456, 12, False, "Volatility alert: one month lay 3.46 standard deviations from the peers "
         "(at least 3)."),
        (1.5, 12.0, 2.0, 12, False, "Recovering: still worse than the peers (z-score 1.50, above 1) "
         "but improving (slope percentile 12.00, below 30)."),
        (-1.75, 50.0, 2.0, 12, False, "Sustained excellence: far better than the peers (z-score -1.75, below -1.5) "
         "and steady (slope percentile 50.00, from 30 to below 70)."),
        (-0.63, 17.37, 2.0, 12, False, "Improving leader: improving (slope percentile 17.37, below 30) "
         "and no worse than the peers (z-score -0.63, at most 0.5)."),
        (-0.18, 91.95, 2.0, 12, False, "Emerging risk: worsening (slope percentile 91.95, at least 70) "
         "near the peers' middle (z-score -0.18, from -0.5 to 1)."),
        (0.2, 50.0, 2.0, 12, False, "Baseline: z-score 0.20 and slope percentile 50.00 together match no other rule."),
        (None, 50.0, None, 12, False, "Baseline: slope percentile 50.00, but the place among the peers is not known."),
    ],
)  # fmt: skip
def test_the_reasoning_names_the_rule_and_the_numbers(
    z: Number, s: Number, d: Number, periods: int, suppressed: bool, sentence: str
) -> None:
    inputs = ClassificationInputs(aggregate_zscore=z, slope_percentile=s, max_abs_deviation=d)
    assert verdict(inputs, periods, suppressed, SETTINGS.types).reasoning == sentence


@pytest.mark.parametrize(
    ("signal_type", "bounds", "base"),
    [
        ("suspect_data", (50, 50), 50), ("baseline", (26, 59), 42), ("critical_trajectory", (91, 100), 95),
        ("chronic_underperformer", (81, 90), 85), ("volatility_alert", (71, 80), 75), ("recovering", (60, 70), 65),
        ("sustained_excellence", (0, 12), 6), ("improving_leader", (13, 25), 19), ("emerging_risk", (60, 70), 65),
    ],
)  # fmt: skip
def test_base_severity_is_the_floor_of_the_middle(signal_type: str, bounds: tuple[int, int], base: int) -> None:
    assert severity_range(SignalType(signal_type), SETTINGS) == bounds
    calculation = severity_calculation(SignalType(signal_type), ClassificationInputs(), SETTINGS)
    assert (calculation.base_severity, calculation.refinements, calculation.final_severity) == (base, [], base)


def adjustments(signal_type: SignalType, z: Number = None, s: Number = None, a: Number = None) -> dict[str, int]:
    inputs = ClassificationInputs(aggregate_zscore=z, slope_percentile=s, acceleration=a)
    calculation = severity_calculation(signal_type, inputs, SETTINGS)
    found = {refinement.factor: refinement.adjustment for refinement in calculation.refinements}
    assert calculation.base_severity + sum(found.values()) == calculation.final_severity
    assert 0 not in found.values()
    return found


ALL_BUT_SUSPECT = [signal_type for signal_type in SignalType if signal_type != "suspect_data"]


@pytest.mark.parametrize("signal_type", ALL_BUT_SUSPECT)
@pytest.mark.parametrize(
    ("s", "adjustment"),
    [
        (0.0, -2), (19.99, -2), (20.0, -1), (39.99, -1), (40.0, 0), (59.99, 0), (60.0, 1), (79.99, 1), (80.0, 2),
        (100.0, 2), (None, 0),
    ],
)  # fmt: skip
def test_slope_refines_every_type(signal_type: SignalType, s: Number, adjustment: int) -> None:
    assert adjustments(signal_type, s=s).get("slope", 0) == adjustment


@pytest.mark.parametrize(
    ("z", "adjustment"),
    [
        (-1.01, -2), (-1.0, -1), (-0.51, -1), (-0.5, 0), (0.0, 0), (0.5, 0), (0.51, 1), (1.0, 1), (1.01, 2), (None, 0),
    ],
)  # fmt: skip
def test_position_refines_a_baseline(z: Number, adjustment: int) -> None:
    assert adjustments(SignalType.BASELINE, z=z).get("position", 0) == adjustment


@pytest.mark.parametrize("signal_type", ["emerging_risk", "chronic_underperformer", "critical_trajectory"])
@pytest.mark.parametrize(("z", "adjustment"), [(-9.0, 0), (0.5, 0), (0.51, 1), (9.0, 1), (None, 0)])
def test_position_refines_what_is_getting_worse(signal_type: str, z: Number, adjustment: int) -> None:
    assert adjustments(SignalType(signal_type), z=z).get("position", 0) == adjustment


@pytest.mark.parametrize("signal_type", ["volatility_alert", "recovering", "sustained_excellence", "improving_leader"])
@pytest.mark.parametrize("z", [-9.0, 9.0])
def test_position_refines_nothing_else(signal_type: str, z: float) -> None:
    assert "position" not in adjustments(SignalType(signal_type), z=z)


@pytest.mark.parametrize(
    ("a", "adjustment"), [(-9.0, 0), (0.005, 0), (0.0051, 1), (0.01, 1), (0.0101, 2), (9.0, 2), (None, 0)]
)
def test_acceleration_refines_an_emerging_risk(a: Number, adjustment: int) -> None:
    assert adjustments(SignalType.EMERGING_RISK, a=a).get("acceleration", 0) == adjustment


@pytest.mark.parametrize(("a", "adjustment"), [(-9.0, -2), (-0.0051, -2), (-0.005, 0), (9.0, 0), (None, 0)])
def test_acceleration_refines_an_improving_leader(a: Number, adjustment: int) -> None:
    assert adjustments(SignalType.IMPROVING_LEADER, a=a).get("acceleration", 0) == adjustment


@pytest.mark.parametrize("signal_type", [t for t in ALL_BUT_SUSPECT if t not in ("emerging_risk", "improving_leader")])
@pytest.mark.parametrize("a", [-9.0, 9.0])
def test_acceleration_refines_nothing_else(signal_type: SignalType, a: float) -> None:
    assert "acceleration" not in adjustments(signal_type, a=a)


def test_suspect_data_is_not_refined() -> None:
    assert adjustments(SignalType.SUSPECT_DATA, z=9.0, s=100.0, a=9.0) == {}


def test_refinements_say_why() -> None:
    inputs = ClassificationInputs(aggregate_zscore=0.8, slope_percentile=75.0, acceleration=0.02)
    assert severity_calculation(SignalType.EMERGING_RISK, inputs, SETTINGS).refinements == [
        SeverityRefinement("slope", 1, "Slope percentile 75.00 is below 80."),
        SeverityRefinement("position", 1, "Z-score 0.80 is above 0.5."),
        SeverityRefinement("acceleration", 2, "Acceleration 0.0200 is above 0.01."),
    ]


@pytest.mark.parametrize(("s", "final", "clamp"), [(90.0, 66, -1), (10.0, 64, 1), (70.0, 66, None), (30.0, 64, None)])
def test_a_sum_outside_the_range_is_brought_back(s: float, final: int, clamp: int | None) -> None:
    narrow = ClassificationSettings(ranges=SeverityRanges(recovering=(64, 66)))
    calculation = severity_calculation(SignalType.RECOVERING, ClassificationInputs(slope_percentile=s), narrow)
    assert (calculation.base_severity, calculation.final_severity) == (65, final)
    last = calculation.refinements[-1]
    if clamp is None:
        assert last.factor == "slope"
    else:
        assert last == SeverityRefinement("range_clamp", clamp, "Kept within the range 64-66.")
