"""Statistics of monthly figures, as the classification rules define them.

Plain floats and C-level loops instead of numpy: a timeline has a few dozen values, where numpy's overhead per call is
larger than the work. Month numbers may have gaps and need not start at zero; they are centred before use. Results are
finite for finite input unless the true value is beyond a float's range: then they are infinite or NaN, never an error.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from math import dist, inf, sqrt
from operator import mul


@lru_cache(maxsize=4096)
def month_number(period: str) -> int:
    """The number of a month (`"2017-06"`), counted so that the next month is one more.

    Raises ValueError when the text is not four digits, a hyphen and a month from 01 to 12.
    """
    year, _, month = period.partition("-")
    if len(year) != 4 or len(month) != 2 or not (year + month).isascii() or not (year + month).isdigit():
        raise ValueError(f"{period!r} is not a month like 2017-06")
    if not 1 <= int(month) <= 12:
        raise ValueError(f"{period!r} has no month from 01 to 12")
    return int(year) * 12 + int(month) - 1


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean of at least one value."""
    return sum(values) / len(values)


def population_std(values: Sequence[float]) -> float:
    """Population standard deviation (divides by n) of at least one value; exactly 0.0 where all are equal."""
    return _deviation_norm(values) / sqrt(len(values))


def sample_std(values: Sequence[float]) -> float | None:
    """Sample standard deviation (divides by n - 1), exactly 0.0 where all are equal; None for fewer than two values."""
    if len(values) < 2:
        return None
    return _deviation_norm(values) / sqrt(len(values) - 1)


def _deviation_norm(values: Sequence[float]) -> float:
    # The mean of equal values may be off by a rounding error, which would make a tiny deviation out of none,
    # and a huge z-score of whatever is divided by it.
    if values.count(values[0]) == len(values):
        return 0.0
    return dist(values, [mean(values)] * len(values))


def coefficient_of_variation(values: Sequence[float]) -> float:
    """Population standard deviation / |mean| of at least one value; infinite where the mean is 0."""
    centre = mean(values)
    return population_std(values) / abs(centre) if centre else inf


@lru_cache(maxsize=1024)
def _slope_weights(months: tuple[int, ...]) -> tuple[float, ...] | None:
    """w with slope = sum(w * x), or None without two different months. Cached: peers share their months."""
    centred = _centred(months)
    square = sum(t * t for t in centred)
    return tuple(t / square for t in centred) if square else None


@lru_cache(maxsize=1024)
def _curvature_weights(months: tuple[int, ...]) -> tuple[float, ...] | None:
    """w with second derivative = sum(w * x), or None without three different months."""
    if len(set(months)) < 3:
        return None
    centred = _centred(months)
    second, third = sum(t**2 for t in centred), sum(t**3 for t in centred)
    # The quadratic made orthogonal to the constant and the line: its coefficient is that of the least-squares parabola.
    quadratic = [t * t - second / len(centred) - t * third / second for t in centred]
    square = sum(q * q for q in quadratic)
    return tuple(2.0 * q / square for q in quadratic)


def _centred(months: tuple[int, ...]) -> list[float]:
    total, count = sum(months), len(months)
    return [(month * count - total) / count for month in months]


def slope(months: Sequence[int], values: Sequence[float]) -> float | None:
    """Least-squares slope of the values over the month numbers, per month; None without two different months."""
    return _weighted_sum(_slope_weights(tuple(months)), values)


def second_derivative(months: Sequence[int], values: Sequence[float]) -> float | None:
    """Twice the quadratic coefficient of the least-squares parabola; None without three different months."""
    return _weighted_sum(_curvature_weights(tuple(months)), values)


def _weighted_sum(weights: tuple[float, ...] | None, values: Sequence[float]) -> float | None:
    if weights is None:
        return None
    # Both kinds of weights add up to 0, so that a constant may be taken off: large values with small differences keep
    # their digits, and equal values give exactly 0.
    first = values[0]
    return float(sum(map(mul, weights, [value - first for value in values])))


def round_significant(value: float) -> float:
    """The value rounded to 12 significant digits."""
    return float(f"{value:.11e}")


def mid_rank_percentiles(values: Sequence[float]) -> list[float]:
    """Each value's mid-rank percentile among all: 100 x (smaller + half of the equal ones, itself included) / all.

    Values are rounded to 12 significant digits first, so that rounding errors of the computation do not break ties.
    """
    rounded = [round_significant(value) for value in values]
    ranked = sorted(rounded)
    return [
        # smaller + equal / 2 = (left + right) / 2
        50.0 * (bisect_left(ranked, value) + bisect_right(ranked, value)) / len(ranked)
        for value in rounded
    ]
