"""The demo engine's messages: what they say, and that the contract and the classification agree with them."""

from math import isclose

import msgspec
import pytest
from msgspec.structs import asdict, replace

from deploy.demo.figures import Cases, Entity, Facility, Figures, Measure
from deploy.demo.invented import METRICS, facilities
from deploy.demo.peers import Finding, find
from deploy.demo.signals import Message, message
from services.signals.classification import ClassificationSettings, classify
from services.signals.classification import Figures as SignalFigures
from shared.events.engine import EngineSignal
from shared.events.vocabulary import MetricPolarity, SignalDomain
from shared.statistics import month_number
from tests.deploy.test_demo_peers import entity, series

START = month_number("2017-01")


def measure(polarity: MetricPolarity = MetricPolarity.LOWER_IS_BETTER) -> Measure:
    return Measure(
        metric_id="rate",
        name="Late rate",
        domain=SignalDomain.SAFETY,
        polarity=polarity,
        service_line="Surgery",
        canonical_node_id="node",
        temporal_node_id="node:monthly",
    )


def findings(*courses: list[float], of: Measure | None = None, system: str | None = None) -> list[Finding]:
    figures = Figures()
    for number, course in enumerate(courses):
        facility = Facility(f"F{number}", f"Hospital {number}", system)
        months = {START + i: Cases(value * 1000, 1000) for i, value in enumerate(course)}
        figures.by_entity[Entity(of or measure(), facility, ())] = months
    return find(figures, START + max(map(len, courses)) - 1).findings


def test_a_message_in_full() -> None:
    first, _ = findings([0.1, 0.2, 0.3], [0.3, 0.3, 0.5], system="North")
    assert message(first) == {
        "canonical_node_id": "node",
        "metric_id": "rate",
        "domain": "Safety",
        "facility": "Hospital 0",
        "facility_id": "F0",
        "system_name": "North",
        "service_line": "Surgery",
        "description": "Late rate at Hospital 0 was 30.0% in March 2017, against 40.0% on average among 2 peers "
        "(percentile 25).",
        "metric_value": 0.3,
        "peer_mean": 0.4,
        "peer_std": 0.141421,
        "percentile_rank": 25.0,
        "encounters": 1000,
        "detected_at": message(first)["detected_at"],
        "polarity": "lower_is_better",
        "period_count": 3,
        "trend_direction": "increasing",
        "temporal_node_id": "node:monthly",
        "simplified_inputs": asdict(first.inputs),
        "metric_trend_timeline": [
            {"period": "2017-01", "value": 0.1, "encounters": 1000},
            {"period": "2017-02", "value": 0.2, "encounters": 1000},
            {"period": "2017-03", "value": 0.3, "encounters": 1000},
        ],
        "peer_percentile_trends": [
            {"period": period, "n": 2, "mean": mean, "std": std, "p50": mean, **rest}
            for period, mean, std, rest in (
                ("2017-01", 0.2, 0.141421, {"p10": 0.12, "p25": 0.15, "p75": 0.25, "p90": 0.28}),
                ("2017-02", 0.25, 0.070711, {"p10": 0.21, "p25": 0.225, "p75": 0.275, "p90": 0.29}),
                ("2017-03", 0.4, 0.141421, {"p10": 0.32, "p25": 0.35, "p75": 0.45, "p90": 0.48}),
            )
        ],
        "metadata_per_period": [
            {"period": "2017-01", "numerator": 100.0, "denominator": 1000},
            {"period": "2017-02", "numerator": 200.0, "denominator": 1000},
            {"period": "2017-03", "numerator": 300.0, "denominator": 1000},
        ],
    }


@pytest.mark.parametrize(
    ("months", "detected_at"),
    [(11, "2017-12-01T00:00:00Z"), (12, "2018-01-01T00:00:00Z"), (14, "2018-03-01T00:00:00Z")],
)
def test_it_is_detected_when_the_last_month_is_over(months: int, detected_at: str) -> None:
    [found] = findings([0.1] * months)
    assert msgspec.json.decode(msgspec.json.encode(message(found)))["detected_at"] == detected_at


@pytest.mark.parametrize(
    ("course", "direction"),
    [
        ([0.1, 0.2, 0.3], "increasing"), ([0.3, 0.2, 0.1], "decreasing"), ([0.2, 0.2, 0.2], "stable"),
        ([0.100, 0.102, 0.104], "stable"), ([0.100, 0.103, 0.106], "increasing"), ([0.0, 0.0, 0.0], "stable"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("polarity", list(MetricPolarity))
def test_the_trend_is_that_of_the_raw_value(course: list[float], direction: str, polarity: MetricPolarity) -> None:
    first, _ = findings(course, [0.5, 0.1, 0.9], of=measure(polarity))
    assert message(first)["trend_direction"] == direction


def test_a_slice_names_its_dimensions() -> None:
    figures = Figures()
    figures.by_entity[entity("A", ("department", "1"), ("shift_type", "night"))] = series(0.1, 0.1, 0.1)
    [found] = find(figures, min(figures.last_month, 24_202)).findings
    sent = message(found)
    assert sent["entity_dimensions"] == {"department": "1", "shift_type": "night"}
    assert (sent["groupby_label"], sent["group_value"]) == ("Department / Shift type", "1 / night")
    assert sent["description"].startswith("Rate at A (department 1, shift type night) was 10.0% in ")
    assert sent["description"].endswith("; there are no peers to compare it with.")
    assert "peer_std" not in sent
    assert "system_name" not in sent


def decoded(sent: Message) -> EngineSignal:
    return msgspec.json.decode(msgspec.json.encode(sent), type=EngineSignal)


def figures_of(signal: EngineSignal) -> SignalFigures:
    assert signal.polarity is not None
    return SignalFigures(
        metric_value=signal.metric_value,
        peer_mean=signal.peer_mean,
        peer_std=signal.peer_std,
        percentile_rank=signal.percentile_rank,
        polarity=signal.polarity,
        timeline=signal.metric_trend_timeline or (),
        peer_trends=signal.peer_percentile_trends or (),
        period_count=signal.period_count,
        inputs=signal.simplified_inputs,
    )


@pytest.mark.parametrize("polarity", [MetricPolarity.LOWER_IS_BETTER, MetricPolarity.HIGHER_IS_BETTER])
def test_the_service_computes_the_same_four_inputs_from_what_is_sent(polarity: MetricPolarity) -> None:
    courses = [[0.2 + 0.01 * ((7 * i + 5 * f) % 11) + 0.002 * i * f for i in range(14)] for f in range(9)]
    for found in findings(*courses, of=measure(polarity)):
        signal = decoded(message(found))
        sent = classify(figures_of(signal), ClassificationSettings()).simplified_inputs
        computed = classify(replace(figures_of(signal), inputs=None), ClassificationSettings()).simplified_inputs
        assert computed.pop("slope_percentile") is None
        for name, value in computed.items():
            assert value is not None
            assert isclose(value, sent[name] or 0.0, rel_tol=1e-3, abs_tol=1e-3), name


def test_turning_a_metric_over_mirrors_its_findings() -> None:
    courses = [[0.2 + 0.01 * ((7 * i + 5 * f) % 11) + 0.002 * i * f for i in range(14)] for f in range(9)]
    lower = findings(*courses)
    higher = findings(*courses, of=measure(MetricPolarity.HIGHER_IS_BETTER))
    for one, other in zip(lower, higher, strict=True):
        assert one.percentile_rank == other.percentile_rank
        assert one.inputs.aggregate_zscore == -(other.inputs.aggregate_zscore or 0.0)
        assert one.inputs.slope_percentile == pytest.approx(100.0 - (other.inputs.slope_percentile or 0.0))


def test_the_invented_group_is_as_large_as_it_should_be() -> None:
    hospitals = facilities()
    assert len({facility.facility_id for facility in hospitals}) == len({each.name for each in hospitals}) == 40
    assert len({facility.system_name for facility in hospitals}) == 6
    assert len({metric.metric_id for metric in METRICS}) == 8
    assert {metric.domain for metric in METRICS} == set(SignalDomain)
    assert {metric.polarity for metric in METRICS} == set(MetricPolarity)
    assert len({line for metric in METRICS for line in metric.service_lines}) == 6
