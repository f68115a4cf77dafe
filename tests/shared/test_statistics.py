"""The statistics against numpy, and their answers where a figure cannot be computed."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.statistics import (
    coefficient_of_variation,
    mean,
    mid_rank_percentiles,
    month_number,
    population_std,
    round_significant,
    sample_std,
    second_derivative,
    slope,
)

Series = tuple[list[int], list[float]]


@st.composite
def series(draw: st.DrawFn, shortest: int) -> Series:
    """Months with gaps, anywhere in history, and a value for each."""
    months = sorted(draw(st.sets(st.integers(0, 60), min_size=shortest, max_size=30)))
    start = draw(st.sampled_from([0, 24_192, 24_300]))
    values = draw(st.lists(st.floats(-1000, 1000, width=32), min_size=len(months), max_size=len(months)))
    return [start + month for month in months], values


def polynomial(months: list[int], values: list[float], degree: int) -> np.ndarray:
    centred = np.array(months, dtype=float) - np.mean(months)
    return np.polyfit(centred, values, degree)


@given(series(2))
def test_slope_is_that_of_the_least_squares_line(data: Series) -> None:
    months, values = data
    assert slope(months, values) == pytest.approx(polynomial(months, values, 1)[0], rel=1e-9, abs=1e-8)


@given(series(3))
def test_second_derivative_is_that_of_the_least_squares_parabola(data: Series) -> None:
    months, values = data
    expected = 2 * polynomial(months, values, 2)[0]
    assert second_derivative(months, values) == pytest.approx(expected, rel=1e-8, abs=1e-7)


def test_month_numbers_keep_their_gaps() -> None:
    months = [month_number(period) for period in ("2016-11", "2016-12", "2017-03")]
    assert slope(months, [1.0, 2.0, 5.0]) == pytest.approx(1.0)
    assert second_derivative(months, [1.0, 4.0, 25.0]) == pytest.approx(2.0)


def test_large_values_with_small_differences_keep_their_digits() -> None:
    months = list(range(24))
    values = [1e9 + 1e-3 * month for month in months]
    assert slope(months, values) == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.parametrize("months", [[], [5], [5, 5]])
def test_no_slope_without_two_different_months(months: list[int]) -> None:
    assert slope(months, [1.0, 2.0][: len(months)]) is None


@pytest.mark.parametrize("months", [[], [5], [5, 6], [5, 6, 5]])
def test_no_second_derivative_without_three_different_months(months: list[int]) -> None:
    assert second_derivative(months, [1.0, 2.0, 4.0][: len(months)]) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_deviations_are_those_of_numpy(values: list[float]) -> None:
    assert mean(values) == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9)
    assert population_std(values) == pytest.approx(np.std(values), rel=1e-9, abs=1e-6)
    if len(values) > 1:
        assert sample_std(values) == pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-6)


@given(st.floats(-1e6, 1e6), st.integers(2, 50))
def test_equal_values_have_no_deviation_and_no_trend_at_all(value: float, count: int) -> None:
    values = [value] * count
    months = [3 * month + month % 2 for month in range(count)]
    assert population_std(values) == 0.0
    assert sample_std(values) == 0.0
    assert slope(months, values) == 0.0
    assert second_derivative(months, values) in (0.0, None)


def test_sample_deviation_needs_two_values() -> None:
    assert sample_std([]) is None
    assert sample_std([1.0]) is None


def test_variation_is_relative_to_the_absolute_mean() -> None:
    assert coefficient_of_variation([1.0, 3.0]) == 0.5
    assert coefficient_of_variation([-1.0, -3.0]) == 0.5
    assert coefficient_of_variation([5.0]) == 0.0


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [-1.0, 1.0]])
def test_variation_around_a_mean_of_zero_is_infinite(values: list[float]) -> None:
    assert coefficient_of_variation(values) == math.inf


def test_percentiles_are_mid_ranks() -> None:
    assert mid_rank_percentiles([]) == []
    assert mid_rank_percentiles([7.0]) == [50.0]
    assert mid_rank_percentiles([3.0, 1.0, 2.0, 2.0]) == [87.5, 12.5, 50.0, 50.0]


@given(st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=30))
def test_percentiles_by_the_definition(values: list[float]) -> None:
    expected = [
        100 * (sum(v < value for v in values) + sum(v == value for v in values) / 2) / len(values) for value in values
    ]
    assert mid_rank_percentiles(values) == pytest.approx(expected)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_turning_values_mirrors_percentiles(values: list[float]) -> None:
    turned = mid_rank_percentiles([-value for value in values])
    assert turned == pytest.approx([100 - percentile for percentile in mid_rank_percentiles(values)])


def test_ties_are_found_at_twelve_significant_digits() -> None:
    assert mid_rank_percentiles([0.1234567890121, 0.1234567890124]) == [50.0, 50.0]
    assert mid_rank_percentiles([0.123456789012, 0.123456789013]) == [25.0, 75.0]
    assert mid_rank_percentiles([1.0, 1.0 + 1e-11]) == [25.0, 75.0]
    assert mid_rank_percentiles([1.0, 1.0 + 1e-12]) == [50.0, 50.0]


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(123456789012.4, 123456789012.0), (-0.12345678901251, -0.123456789013), (0.0, 0.0), (1e-300, 1e-300)],
)
def test_rounding_counts_significant_digits(value: float, rounded: float) -> None:
    assert round_significant(value) == rounded


def test_months_are_counted_on_over_new_year() -> None:
    assert month_number("2017-01") - month_number("2016-12") == 1
    assert month_number("2018-03") - month_number("2016-04") == 23


@pytest.mark.parametrize(
    "text", ["2017", "2017-6", "2017-13", "2017-00", "17-06", "2017-06-01", "2017-06\n", "२०१७-06", ""]
)
def test_what_is_not_a_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="month"):
        month_number(text)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=24))
def test_no_finite_values_raise(values: list[float]) -> None:
    months = list(range(len(values)))
    for result in (
        mean(values),
        population_std(values),
        sample_std(values),
        coefficient_of_variation(values),
        slope(months, values),
        second_derivative(months, values),
    ):
        assert isinstance(result, float)
