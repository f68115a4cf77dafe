"""What holds for every input: one type, a severity in its range that adds up, and symmetry where the rules have it."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.signals.classification import Classification, ClassificationSettings, Figures, classify
from shared.events.engine import ClassificationInputs, PeerPeriod, TimelinePoint
from shared.events.vocabulary import MetricPolarity, SignalType

SETTINGS = ClassificationSettings()
RANGES = {SignalType(name): bounds for name, bounds in SETTINGS.ranges.model_dump().items()}

BOUNDARIES = [-1.5, -1.0, -0.5, -0.01, -0.005, 0.0, 0.005, 0.01, 0.5, 1.0, 2.0, 3.0]
ANY = st.floats(allow_nan=False, allow_infinity=False)
NEAR = st.one_of(st.sampled_from(BOUNDARIES), st.floats(-4, 4), ANY)
PERCENTILES = st.one_of(st.sampled_from([10.0, 20.0, 30.0, 40.0, 60.0, 70.0, 80.0, 90.0]), st.floats(0, 100))
INPUTS = st.builds(
    ClassificationInputs,
    aggregate_zscore=st.none() | NEAR,
    slope_percentile=st.none() | PERCENTILES,
    acceleration=st.none() | NEAR,
    zscore_std=st.none() | NEAR.map(abs),
    max_abs_deviation=st.none() | NEAR.map(abs),
)
PEERS = {name: st.none() | NEAR for name in ("p25", "p50", "p75", "mean")}


@st.composite
def months(draw: st.DrawFn) -> tuple[list[TimelinePoint], list[PeerPeriod]]:
    timeline, peers = [], []
    for number in sorted(draw(st.sets(st.integers(0, 30), max_size=24))):
        period = f"{2016 + number // 12}-{number % 12 + 1:02}"
        timeline.append(TimelinePoint(period, draw(st.none() | NEAR)))
        figures = {name: draw(values) for name, values in PEERS.items()}
        std, n = draw(st.none() | NEAR.map(abs)), draw(st.none() | st.integers(0, 4))
        peers.append(PeerPeriod(period, std=std, n=n, **figures))
    return timeline, draw(st.sampled_from([peers, []]))


@st.composite
def figures(draw: st.DrawFn, inputs: st.SearchStrategy[ClassificationInputs | None] = st.none() | INPUTS) -> Figures:  # noqa: B008
    timeline, peers = draw(months())
    return Figures(
        metric_value=draw(NEAR),
        peer_mean=draw(st.none() | NEAR),
        peer_std=draw(st.none() | NEAR.map(abs)),
        percentile_rank=draw(st.none() | PERCENTILES),
        polarity=draw(st.sampled_from(MetricPolarity)),
        target_range=draw(st.none() | st.tuples(st.floats(-2, 0), st.floats(0, 2))),
        timeline=timeline,
        peer_trends=peers,
        period_count=draw(st.none() | st.integers(0, 24)),
        suppressed=draw(st.booleans()),
        inputs=draw(inputs),
    )


def with_inputs(inputs: ClassificationInputs) -> Classification:
    return classify(Figures(0.1, inputs=inputs, period_count=12), SETTINGS)


@given(figures())
def test_every_figure_has_a_type_and_a_severity_that_adds_up(given_figures: Figures) -> None:
    result = classify(given_figures, SETTINGS)
    low, high = RANGES[result.simplified_signal_type]
    assert result.simplified_severity_range == [low, high]
    assert low <= result.simplified_severity <= high
    calculation = result.simplified_severity_calculation
    adjustments = [refinement["adjustment"] for refinement in calculation["refinements"]]
    assert calculation["base_severity"] == (low + high) // 2
    assert calculation["base_severity"] + sum(adjustments) == calculation["final_severity"]
    assert calculation["final_severity"] == result.simplified_severity
    assert result.simplified_reasoning.endswith(".")
    json.dumps([result.simplified_inputs, result.simplified_indicators, calculation], allow_nan=False)


def rules_that_match(inputs: ClassificationInputs) -> list[SignalType]:
    """The specification's table once more, as plain conditions; a comparison with NaN is false."""
    z, s, d = (
        math.nan if value is None else value
        for value in (inputs.aggregate_zscore, inputs.slope_percentile, inputs.max_abs_deviation)
    )
    table = [
        (math.isnan(s), SignalType.BASELINE),
        (z > 2.0 and s >= 90, SignalType.CRITICAL_TRAJECTORY),
        (z > 1.0 and s >= 70, SignalType.CHRONIC_UNDERPERFORMER),
        (d >= 3.0, SignalType.VOLATILITY_ALERT),
        (z > 1.0 and s < 30, SignalType.RECOVERING),
        (z < -1.5 and 30 <= s < 70, SignalType.SUSTAINED_EXCELLENCE),
        (s < 30 and z <= 0.5, SignalType.IMPROVING_LEADER),
        (s >= 70 and -0.5 <= z <= 1.0, SignalType.EMERGING_RISK),
        (True, SignalType.BASELINE),
    ]
    return [signal_type for matches, signal_type in table if matches]


@given(INPUTS)
def test_the_first_rule_that_matches_wins(inputs: ClassificationInputs) -> None:
    assert with_inputs(replace(inputs, zscore_std=1.0)).simplified_signal_type == rules_that_match(inputs)[0]


@given(figures(inputs=st.none()))
def test_turning_a_metric_over_mirrors_it_exactly(lower: Figures) -> None:
    """The same figures with the opposite sign, of a metric where high is good, are the same finding."""

    def negative(value: float | None) -> float | None:
        return None if value is None else -value

    lower = replace(lower, polarity=MetricPolarity.LOWER_IS_BETTER)
    higher = replace(
        lower,
        polarity=MetricPolarity.HIGHER_IS_BETTER,
        metric_value=-lower.metric_value,
        peer_mean=negative(lower.peer_mean),
        percentile_rank=None if lower.percentile_rank is None else 100.0 - lower.percentile_rank,
        timeline=[replace(point, value=negative(point.value)) for point in lower.timeline],
        peer_trends=[
            replace(
                peer, p25=negative(peer.p75), p50=negative(peer.p50), p75=negative(peer.p25), mean=negative(peer.mean)
            )
            for peer in lower.peer_trends
        ],
    )
    # 100 - (100 - p) may differ from p in the last digit, so the percentile is compared where it returns.
    if higher.percentile_rank is not None and 100.0 - higher.percentile_rank != lower.percentile_rank:
        lower, higher = replace(lower, percentile_rank=None), replace(higher, percentile_rank=None)
    assert classify(higher, SETTINGS) == classify(lower, SETTINGS)


@given(figures(inputs=st.none()))
def test_without_a_target_range_a_metric_is_judged_alike_on_both_sides(above: Figures) -> None:
    above = replace(above, polarity=MetricPolarity.TARGET_RANGE, target_range=None, timeline=(), percentile_rank=None)
    centre = above.peer_mean or 0.0
    mirrored = replace(above, metric_value=-above.metric_value, peer_mean=-centre)
    assert classify(replace(above, peer_mean=centre), SETTINGS) == classify(mirrored, SETTINGS)


@given(INPUTS, PERCENTILES, PERCENTILES)
def test_a_steeper_slope_never_lowers_the_severity_within_a_type(
    inputs: ClassificationInputs, one: float, other: float
) -> None:
    flat, steep = (with_inputs(replace(inputs, slope_percentile=s)) for s in sorted((one, other)))
    if flat.simplified_signal_type == steep.simplified_signal_type:
        assert flat.simplified_severity <= steep.simplified_severity


@given(INPUTS, NEAR, NEAR)
def test_a_worse_position_never_lowers_the_severity_within_a_type(
    inputs: ClassificationInputs, one: float, other: float
) -> None:
    better, worse = (with_inputs(replace(inputs, aggregate_zscore=z)) for z in sorted((one, other)))
    if better.simplified_signal_type == worse.simplified_signal_type:
        assert better.simplified_severity <= worse.simplified_severity


@given(INPUTS, NEAR, NEAR)
def test_acceleration_never_lowers_the_severity(inputs: ClassificationInputs, one: float, other: float) -> None:
    slower, faster = (with_inputs(replace(inputs, acceleration=a)) for a in sorted((one, other)))
    assert slower.simplified_signal_type == faster.simplified_signal_type
    assert slower.simplified_severity <= faster.simplified_severity


@given(figures())
def test_classification_is_a_function_of_its_figures(given_figures: Figures) -> None:
    assert classify(given_figures, SETTINGS) == classify(given_figures, SETTINGS)
