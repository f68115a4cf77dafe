"""How the demo engine compares entities with their peers, against a slow computation by the definitions."""

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest

from deploy.demo.figures import Cases, Dimensions, Entity, Facility, Figures, Measure
from deploy.demo.peers import Finding, LeftOut, find, turned_values
from shared.events.vocabulary import MetricPolarity, SignalDomain

LOWER, HIGHER, TARGET = MetricPolarity
START = 24_200


def measure(
    polarity: MetricPolarity = LOWER, target_range: tuple[float, float] | None = None, node: str = "node"
) -> Measure:
    return Measure(
        metric_id="rate",
        name="Rate",
        domain=SignalDomain.SAFETY,
        polarity=polarity,
        service_line="Surgery",
        canonical_node_id=node,
        target_range=target_range,
    )


def entity(facility: str, *dimensions: tuple[str, str], of: Measure | None = None) -> Entity:
    return Entity(of or measure(), Facility(facility, facility), tuple(dimensions))


def series(*values: float | None, cases: int = 1000) -> dict[int, Cases]:
    return {START + i: Cases(value * cases, cases) for i, value in enumerate(values) if value is not None}


def figures_of(**by_facility: dict[int, Cases]) -> Figures:
    figures = Figures()
    for facility, months in by_facility.items():
        figures.by_entity[entity(facility)] = months
    return figures


def by_facility(findings: Sequence[Finding], dimensions: Dimensions = ()) -> dict[str, Finding]:
    return {found.entity.facility.facility_id: found for found in findings if found.entity.dimensions == dimensions}


def random_series(random: Random, months: int) -> dict[int, Cases]:
    found = {}
    for month in range(months):
        if random.random() < 0.9 or month == months - 1:
            cases = random.choice([19, 20, 45, 400, 900])
            found[START + month] = Cases(random.randint(0, cases), cases)
    return found


def turned(of: Measure, value: float, raw: Sequence[float]) -> float:
    if of.polarity == LOWER:
        return value
    if of.polarity == HIGHER:
        return -value
    if of.target_range is None:
        return abs(value - float(np.mean(raw)))
    low, high = of.target_range
    return low - value if value < low else value - high if value > high else 0.0


def mid_rank(value: float, among: Sequence[float]) -> float:
    equal = sum(other == pytest.approx(value, rel=1e-12, abs=0) for other in among)
    smaller = sum(other < value for other in among) - sum(
        other < value and other == pytest.approx(value, rel=1e-12, abs=0) for other in among
    )
    return 100 * (smaller + equal / 2) / len(among)


@pytest.mark.parametrize("of", [measure(), measure(HIGHER), measure(TARGET), measure(TARGET, (0.3, 0.6))])
@pytest.mark.parametrize("months", [4, 9, 15])
def test_figures_by_their_definitions(of: Measure, months: int) -> None:
    random = Random(months)  # noqa: S311
    figures = Figures()
    for number in range(15):
        figures.by_entity[entity(f"F{number}", of=of)] = random_series(random, months)
    values = {
        each.facility.facility_id: {
            month: cases.numerator / cases.denominator for month, cases in series.items() if cases.denominator >= 20
        }
        for each, series in figures.by_entity.items()
    }
    last = START + months - 1
    raw = {month: [one[month] for one in values.values() if month in one] for month in range(START, START + months)}
    bad = {
        name: {month: turned(of, value, raw[month]) for month, value in sorted(one.items())}
        for name, one in values.items()
    }
    slopes = {
        name: np.polyfit(np.array(list(one)) - START, list(one.values()), 1)[0]
        for name, one in bad.items()
        if len(one) >= 6
    }

    result = find(figures, last)

    expected = {name for name, one in values.items() if last in one and len(one) >= 3}
    assert set(by_facility(result.findings)) == expected
    assert result.left_out[LeftOut.NO_LAST_MONTH] == sum(last not in one for one in values.values())
    assert sum(result.left_out.values()) == len(values) - len(expected)
    for name, found in by_facility(result.findings).items():
        assert list(found.months) == sorted(values[name])
        assert found.percentile_rank == pytest.approx(mid_rank(values[name][last], raw[last]))
        zscores = {}
        for month, value in bad[name].items():
            peers = [one[month] for one in bad.values() if month in one]
            if len(peers) > 1 and np.std(peers) > 0:
                zscores[month] = (value - np.mean(peers)) / np.std(peers, ddof=1)
            assert found.peers[month].n == len(raw[month])
            assert found.peers[month].mean == pytest.approx(np.mean(raw[month]))
            assert found.peers[month].std == pytest.approx(np.std(raw[month], ddof=1))
            assert found.peers[month].percentiles == pytest.approx(np.quantile(raw[month], [0.1, 0.25, 0.5, 0.75, 0.9]))
        z = list(zscores.values())
        assert found.inputs.aggregate_zscore == pytest.approx(np.mean(z))
        assert found.inputs.zscore_std == pytest.approx(np.std(z))
        assert found.inputs.max_abs_deviation == pytest.approx(np.max(np.abs(z)))
        if len(z) >= 12:
            curvature = 2 * np.polyfit(np.array(list(zscores)) - START, z, 2)[0]
            assert found.inputs.acceleration == pytest.approx(curvature)
        else:
            assert found.inputs.acceleration is None
        if name in slopes:
            assert found.inputs.slope_percentile == pytest.approx(mid_rank(slopes[name], list(slopes.values())))
        else:
            assert found.inputs.slope_percentile is None


@pytest.mark.parametrize(("cases", "usable"), [(19, False), (20, True)])
def test_a_month_with_few_cases_is_skipped_everywhere(cases: int, usable: bool) -> None:
    few = {**series(0.1, 0.1, 0.1, 0.1), START + 2: Cases(10, cases)}
    result = find(figures_of(A=few, B=series(0.2, 0.2, 0.2, 0.2)), START + 3)
    found = by_facility(result.findings)
    assert (START + 2 in found["A"].months) is usable
    assert found["B"].peers[START + 2].n == (2 if usable else 1)


def test_who_is_left_out_is_counted_by_reason() -> None:
    result = find(
        figures_of(
            A=series(0.1, 0.1, 0.1, 0.1),
            B=series(None, None, 0.2, 0.2),
            C=series(0.3, 0.3, 0.3, None),
            D=series(None, 0.4, 0.4, 0.4),
            E={**series(0.1, 0.1, 0.1), START + 3: Cases(1, 19)},
        ),
        START + 3,
    )
    assert sorted(by_facility(result.findings)) == ["A", "D"]
    assert result.left_out == {LeftOut.FEW_MONTHS: 1, LeftOut.NO_LAST_MONTH: 2}
    # Those who are left out are peers all the same.
    assert by_facility(result.findings)["A"].peers[START + 2].n == 5


def test_nothing_is_known_of_later_months() -> None:
    later = figures_of(A=series(0.1, 0.2, 0.3, 0.9), B=series(0.2, 0.2, 0.2, 0.1), C=series(None, None, None, 0.5))
    earlier = figures_of(A=series(0.1, 0.2, 0.3), B=series(0.2, 0.2, 0.2))
    assert find(later, START + 2) == find(earlier, START + 2)


@pytest.mark.parametrize("last_month", [START - 1, START + 1, START + 4])
def test_too_early_and_too_late_find_nothing(last_month: int) -> None:
    assert find(figures_of(A=series(0.1, 0.2, 0.3, 0.9)), last_month).findings == []


def test_an_entity_without_peers_has_no_zscore() -> None:
    [found] = find(figures_of(A=series(*[0.1, 0.2] * 6)), START + 11).findings
    assert found.peers[START].std is None
    assert found.inputs.aggregate_zscore is None
    assert (found.inputs.zscore_std, found.inputs.max_abs_deviation, found.inputs.acceleration) == (None, None, None)
    assert (found.percentile_rank, found.inputs.slope_percentile) == (50.0, 50.0)


def test_peers_that_are_all_equal_give_no_zscore() -> None:
    result = find(figures_of(A=series(*[0.1] * 7), B=series(*[0.1] * 7), C=series(*[0.1] * 7)), START + 6)
    for found in result.findings:
        assert found.inputs.aggregate_zscore is None
        assert (found.percentile_rank, found.inputs.slope_percentile) == (50.0, 50.0)


def departments(**by_name: dict[int, Cases]) -> dict[Dimensions, dict[int, Cases]]:
    return {(("department", name),): months for name, months in by_name.items()}


def hospital(figures: Figures, name: str, **by_department: dict[int, Cases]) -> None:
    for dimensions, months in departments(**by_department).items():
        figures.by_entity[entity(name, *dimensions)] = months


def test_totals_add_up_all_departments_of_each_month() -> None:
    figures = Figures()
    hospital(figures, "A", major=series(0.1, 0.2, 0.3, cases=100), minor=series(0.0, 0.0, None, cases=10))
    found = by_facility(find(figures, START + 2).findings)["A"]
    assert found.months == {START: Cases(10, 110), START + 1: Cases(20, 110), START + 2: Cases(30, 100)}
    assert found.entity.dimensions == ()


def test_totals_are_compared_among_facilities_with_the_same_departments() -> None:
    figures = Figures()
    hospital(figures, "A", major=series(0.1, 0.1, 0.1), minor=series(0.0, 0.0, 0.0))
    hospital(figures, "B", major=series(0.2, 0.2, 0.2), minor=series(0.1, 0.1, 0.1))
    hospital(figures, "C", major=series(0.3, 0.3, 0.3), eye=series(0.1, 0.1, 0.1))
    hospital(figures, "D", major=series(0.4, 0.4, 0.4))
    result = find(figures, START + 2)
    totals = by_facility(result.findings)
    assert {name: found.peers[START].n for name, found in totals.items()} == {"A": 2, "B": 2, "C": 1}
    assert result.left_out == {LeftOut.SINGLE_PART: 1}
    major = by_facility(result.findings, (("department", "major"),))
    assert {found.peers[START].n for found in major.values()} == {4}


def test_a_department_that_opens_later_is_not_known_before() -> None:
    figures = Figures()
    hospital(figures, "A", major=series(0.1, 0.1, 0.1, 0.1), minor=series(None, None, None, 0.0))
    assert by_facility(find(figures, START + 2).findings) == {}
    assert by_facility(find(figures, START + 3).findings)["A"].months[START + 3] == Cases(100, 2000)


def test_every_level_of_several_dimensions_has_its_total() -> None:
    figures = Figures()
    for department, shift in (("major", "day"), ("major", "night"), ("minor", "day")):
        slice_ = entity("A", ("department", department), ("shift", shift))
        figures.by_entity[slice_] = series(0.1, 0.1, 0.1)
    result = find(figures, START + 2)
    assert [dict(found.entity.dimensions) for found in result.findings] == [
        {},
        {"department": "major"},
        {"department": "major", "shift": "day"},
        {"department": "major", "shift": "night"},
        {"department": "minor", "shift": "day"},
    ]
    assert result.left_out == {LeftOut.SINGLE_PART: 1}


def test_only_the_same_measure_and_dimensions_are_peers() -> None:
    figures = figures_of(A=series(0.1, 0.1, 0.1), B=series(0.2, 0.2, 0.2))
    figures.by_entity[entity("A", of=measure(node="other"))] = series(0.9, 0.9, 0.9)
    hospital(figures, "C", major=series(0.3, 0.3, 0.3))
    assert [found.peers[START].n for found in find(figures, START + 2).findings] == [2, 2, 1, 1]


def test_turning_in_a_target_range_counts_the_distance_outside() -> None:
    of = measure(TARGET, (2.0, 4.0))
    assert turned_values(of, [1.0, 2.0, 3.0, 4.0, 4.5]) == [1.0, 0.0, 0.0, 0.0, 0.5]
