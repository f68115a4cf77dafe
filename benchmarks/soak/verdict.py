"""Whether a series of samples is flat: by absolute limits at any length, by slopes where there is time for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import isnan
from statistics import median
from typing import Final

from benchmarks.api_load.notes import skipped, troubles
from benchmarks.soak.limits import SLOPES_FROM_MINUTES, Limit
from benchmarks.soak.sampling import Sample

WARM_UP_SHARE: Final = 0.25
"""Of the time: pools fill, caches and plans come into being, tables reach the size at which they are vacuumed."""

_POINTS: Final = 120
"""Medians of as many stretches are compared pair by pair; one late vacuum or one sample in the midst of something does
not move them."""


_ENOUGH_TO_HEAR_OF: Final = 20.0
"""Requests: of fewer there may be none, since leaders make pauses."""


@dataclass(frozen=True, slots=True)
class Line:
    """One figure over the time of the soak."""

    kind: str
    name: str
    unit: str
    first: float
    last: float
    largest: float
    growth_per_hour: float | None
    """None where there was not enough time to tell."""
    most: float | None
    growth: float | None

    @property
    def complaint(self) -> str | None:
        """What is wrong with it."""
        what = f"{self.kind} of {self.name}"
        if self.most is not None and not self.largest <= self.most:
            return f"{what} was {self.largest:,.2f} {self.unit}, {self.most:,.2f} at most"
        if self.growth is not None and self.growth_per_hour is not None and not self.growth_per_hour <= self.growth:
            return f"{what} grows by {self.growth_per_hour:,.2f} {self.unit} an hour, {self.growth:,.2f} at most"
        return None


def lines(samples: Sequence[Sample], limits: Sequence[Limit]) -> list[Line]:
    """Every figure that a limit is about; a name that was not there in a sample counts as 0 then, NaN as not seen.

    Raises:
        ValueError: a limit finds nothing to judge, so that it would hold whatever happens.
    """
    return [line for limit in limits for line in _lines(samples, limit)]


def _lines(samples: Sequence[Sample], limit: Limit) -> Iterator[Line]:
    judges_slopes = samples[-1].seconds - samples[0].seconds >= SLOPES_FROM_MINUTES * 60
    figures = [limit.of(sample) for sample in samples]
    names = sorted({name for each in figures for name in each if limit.applies(name) and not isnan(each[name])})
    if not names and not limit.may_be_none:
        raise ValueError(f"there is nothing to see of {limit.kind}")
    for name in names:
        seen = [(sample.seconds, each.get(name, 0.0)) for sample, each in zip(samples, figures, strict=True)]
        seconds, values = zip(*(one for one in seen if not isnan(one[1])), strict=True)
        warm = max(1, int(len(values) * WARM_UP_SHARE))
        slope = growth_per_hour(seconds[warm:], values[warm:]) if judges_slopes else None
        yield Line(
            kind=limit.kind,
            name=name,
            unit=limit.unit,
            first=values[0],
            last=values[-1],
            largest=max(values[warm:] if limit.settles and judges_slopes else values),
            growth_per_hour=slope,
            most=limit.most,
            growth=limit.growth,
        )


def growth_per_hour(seconds: Sequence[float], values: Sequence[float]) -> float:
    """The middle of the slopes between all pairs of points (Theil and Sen): a quarter of them may be outliers."""
    size = max(1, len(values) // _POINTS)
    points = [
        (median(seconds[at : at + size]), median(values[at : at + size]))
        for at in range(0, len(values) - size + 1, size)
    ]
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1]
    return median(slopes) * 3600 if slopes else 0.0


def complaints(samples: Sequence[Sample], judged: Sequence[Line], rate: float) -> list[str]:
    """Everything that must not be, where there had to be so many requests a second."""
    found = [complaint for line in judged if (complaint := line.complaint) is not None]
    return found + troubles(samples) + skipped(samples) + _silence(samples, rate)


def _silence(samples: Sequence[Sample], rate: float) -> list[str]:
    """Nobody was answered for as long as it takes to ask several times."""
    begun = [0.0, *(sample.seconds for sample in samples)]
    silent = [
        (since, until)
        for (since, until), sample in zip(pairwise(begun), samples, strict=True)
        if not sample.requests_per_second and (until - since) * rate >= _ENOUGH_TO_HEAR_OF
    ]
    if not silent:
        return []
    seconds = sum(until - since for since, until in silent)
    return [f"nobody was answered in {len(silent)} samples of {seconds:.0f} s, first after {silent[0][0]:.0f} s"]


def table(judged: Sequence[Line]) -> str:
    """For the screen."""
    rows = [f"{'figure':<46}{'first':>10}{'last':>10}{'largest':>10}{'at most':>10}{'per hour':>10}{'at most':>10}"]
    for line in judged:
        figures = (line.first, line.last, line.largest, line.most, line.growth_per_hour, line.growth)
        cells = "".join(f"{'-' if figure is None else f'{figure:,.2f}':>10}" for figure in figures)
        rows.append(
            f"{f'{line.kind}: {line.name}':<46}{cells} {line.unit:<9}{'' if line.complaint is None else 'TOO MUCH'}"
        )
    return "\n".join(rows)
