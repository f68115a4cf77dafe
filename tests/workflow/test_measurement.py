"""Before and after compared: which detections count, which way is better, and what is said of it."""

from datetime import timedelta
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.workflow.schemas_interventions import OutcomeView, TargetRangeView
from services.workflow.service_measurement import Reading, Windows, measure
from services.workflow.settings import OutcomeSettings
from shared.events.vocabulary import MetricPolarity
from shared.events.workflow import InterventionOutcome
from tests.workflow.world import month

LOWER, HIGHER, RANGE = MetricPolarity.LOWER_IS_BETTER, MetricPolarity.HIGHER_IS_BETTER, MetricPolarity.TARGET_RANGE
IMPROVED, UNCHANGED = InterventionOutcome.IMPROVED, InterventionOutcome.UNCHANGED
WORSENED, NOT_ENOUGH = InterventionOutcome.WORSENED, InterventionOutcome.NOT_ENOUGH_DATA
WINDOWS = Windows(month(1), month(4), month(7))


def readings(values: dict[int, float], polarity: MetricPolarity = LOWER, **more: Any) -> list[Reading]:
    """Detections by month; the months 1 to 4 are before, 5 to 7 after."""
    standing: dict[str, Any] = {"peer_mean": 0.12, "signal_type": "baseline"} | more
    return [Reading(month(number), value, polarity=polarity, **standing) for number, value in values.items()]


def measured(values: dict[int, float], polarity: MetricPolarity = LOWER, **more: Any) -> OutcomeView:
    """With the default settings and no target range, unless one is given."""
    rules = OutcomeSettings(**more.pop("rules", {}))
    target = more.pop("target", None)
    return measure(readings(values, polarity, **more), WINDOWS, target, rules)


@pytest.mark.parametrize(
    ("polarity", "after", "verdict"),
    [
        (LOWER, 0.15, IMPROVED),
        (LOWER, 0.25, WORSENED),
        (HIGHER, 0.15, WORSENED),
        (HIGHER, 0.25, IMPROVED),
        (LOWER, 0.209, UNCHANGED),
        (HIGHER, 0.191, UNCHANGED),
    ],
)
def test_the_polarity_says_which_way_is_better(
    polarity: MetricPolarity, after: float, verdict: InterventionOutcome
) -> None:
    outcome = measured({2: 0.22, 4: 0.18, 5: after, 6: after}, polarity)
    assert outcome.verdict is verdict
    assert (outcome.before.mean, outcome.after.mean) == (0.2, after)
    assert (outcome.before.detections, outcome.after.detections) == (2, 2)
    assert outcome.difference == pytest.approx(after - 0.2)
    assert outcome.relative_change == pytest.approx((after - 0.2) / 0.2)


def test_the_reason_has_the_numbers() -> None:
    assert measured({2: 0.22, 4: 0.18, 5: 0.15}).reason == (
        "From 0.2 on average over 2 detections to 0.15 over 1 detection (25.0% lower); lower is better."
    )
    assert measured({2: 95.0, 5: 94.0}, HIGHER).reason == (
        "From 95 on average over 1 detection to 94 over 1 detection (1.1% lower); higher is better. "
        "A change of up to 5% counts as none."
    )
    assert measured({2: 5.5, 5: 4.5}, RANGE, target=TargetRangeView(low=3, high=4)).reason == (
        "From 5.5 on average over 1 detection to 4.5 over 1 detection (18.2% lower); its distance from the target "
        "range of 3 to 4 went from 1.5 to 0.5."
    )
    assert measured({2: 0.1}).reason == (
        "No detections after it started, from 2026-04-01 to 2026-07-01; at least 1 must be there to compare with."
    )


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [(5.5, 4.5, IMPROVED), (5.5, 2.9, IMPROVED), (1.0, 7.5, WORSENED), (3.1, 3.9, UNCHANGED), (2.0, 5.0, UNCHANGED)],
)
def test_a_target_range_has_two_bad_sides(before: float, after: float, verdict: InterventionOutcome) -> None:
    outcome = measured({3: before, 6: after}, RANGE, target=TargetRangeView(low=3, high=4))
    assert outcome.verdict is verdict
    assert outcome.target_range == TargetRangeView(low=3, high=4)


def test_without_a_range_the_mean_of_the_peers_stands_in() -> None:
    assert measured({3: 5.0, 6: 3.4}, RANGE, peer_mean=3.0).verdict is IMPROVED
    assert "the peers' mean went from 2 to 0.4" in measured({3: 5.0, 6: 3.4}, RANGE, peer_mean=3.0).reason
    outcome = measured({3: 5.0, 6: 3.4}, RANGE, peer_mean=None)
    assert outcome.verdict is NOT_ENOUGH
    assert outcome.difference == -1.6


def test_which_detections_count() -> None:
    outside = readings({0: 9.0, 8: 9.0})
    suspect = readings({2: 9.0, 6: 9.0}, signal_type="suspect_data")
    edges = readings({1: 1.0, 4: 1.0, 7: 2.0})
    outcome = measure([*outside, *suspect, *edges], WINDOWS, None, OutcomeSettings())
    assert (outcome.before.detections, outcome.before.mean) == (2, 1.0)
    assert (outcome.after.detections, outcome.after.mean) == (1, 2.0)
    assert outcome.left_out == 2
    just_after = [Reading(month(4) + timedelta(microseconds=1), 2.0, None, LOWER, "baseline")]
    assert measure([*readings({4: 1.0}), *just_after], WINDOWS, None, OutcomeSettings()).verdict is WORSENED


def test_how_many_detections_are_enough_and_what_counts_as_none_are_settings() -> None:
    values = {2: 0.2, 3: 0.2, 5: 0.15}
    assert measured(values).verdict is IMPROVED
    assert measured(values, rules={"minimum_detections": 2}).verdict is NOT_ENOUGH
    assert measured(values, rules={"unchanged_within": 0.25}).verdict is UNCHANGED
    assert measured({}, LOWER).polarity is None
    assert measured({5: 0.1}).reason.startswith("No detections before it started")


def test_a_mean_of_nothing_before_makes_every_change_one() -> None:
    assert measured({3: 0.0, 5: 0.001}).verdict is WORSENED
    assert measured({3: 0.0, 5: 0.0}).verdict is UNCHANGED
    assert measured({3: 0.0, 5: 0.5}).relative_change is None


VALUES = st.floats(-100, 100).map(lambda value: round(value, 4))
MONTHS = st.dictionaries(st.integers(1, 7), VALUES, min_size=1)


@given(MONTHS)
def test_turning_the_polarity_turns_the_verdict(values: dict[int, float]) -> None:
    turned = {IMPROVED: WORSENED, WORSENED: IMPROVED}
    lower, higher = measured(values), measured(values, HIGHER)
    assert higher.verdict is turned.get(lower.verdict, lower.verdict)
    assert higher.model_dump(exclude={"verdict", "reason", "polarity"}) == lower.model_dump(
        exclude={"verdict", "reason", "polarity"}
    )


@given(MONTHS, st.sampled_from(list(MetricPolarity)))
def test_the_numbers_are_those_of_the_detections(values: dict[int, float], polarity: MetricPolarity) -> None:
    outcome = measured(values, polarity, target=TargetRangeView(low=-1, high=1))
    before = [value for number, value in values.items() if number <= 4]
    after = [value for number, value in values.items() if number > 4]
    assert (outcome.before.detections, outcome.after.detections) == (len(before), len(after))
    assert outcome.before.mean == (pytest.approx(fmean(before), abs=1e-4) if before else None)
    assert (outcome.verdict is NOT_ENOUGH) == (not before or not after)
    if before and after:
        assert outcome.difference == pytest.approx(fmean(after) - fmean(before), abs=1e-4)
    assert outcome.reason.endswith(".")
