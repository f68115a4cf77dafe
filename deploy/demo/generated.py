"""Generated monthly figures: believable, and for one seed always the same.

Only `random.Random` is drawn from: its sequences are the same on every platform and in every version of Python.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, sqrt
from random import Random

from deploy.demo.figures import Cases, Dimensions, Entity, Facility, Figures
from deploy.demo.invented import ADMISSION_TYPES, METRICS, SERVICE_LINES, Metric, facilities
from shared.statistics import month_number

FIRST_MONTH = month_number("2023-07")
MONTHS = 24


def generate(seed: int) -> Figures:
    """Two years of figures of the invented hospitals."""
    random = Random(seed)  # noqa: S311 - figures, no secrets
    figures = Figures()
    for facility in facilities():
        size = random.uniform(0.35, 1.6)
        lines = set(random.sample(SERVICE_LINES, random.randint(4, len(SERVICE_LINES))))
        for metric in METRICS:
            quality = random.gauss(0.0, 0.18)
            for line in metric.service_lines:
                if line in lines:
                    _report(figures, random, metric, line, facility, size, quality)
    return figures


def _report(
    figures: Figures, random: Random, metric: Metric, line: str, facility: Facility, size: float, quality: float
) -> None:
    measure = metric.measure(line)
    for dimensions, share in _slices(random, metric):
        course = _Course.drawn(random, quality)
        cases = metric.cases * size * share
        months = figures.by_entity[Entity(measure, facility, dimensions)]
        for month in course.reported:
            months[FIRST_MONTH + month] = _cases(random, metric, course.effect(month), cases)


def _slices(random: Random, metric: Metric) -> Iterator[tuple[Dimensions, float]]:
    """What a hospital reports a metric by, and the share of its cases in each; a few report one admission type only."""
    if not metric.is_split:
        yield (), 1.0
        return
    planned = random.uniform(0.25, 0.6)
    only = random.choice(ADMISSION_TYPES) if random.random() < 0.08 else None
    for name, share in zip(ADMISSION_TYPES, (planned, 1.0 - planned), strict=True):
        if only in (None, name):
            yield (("admission_type", name),), share


@dataclass(frozen=True, slots=True)
class _Course:
    """How one hospital's figures go over the months, around the typical value: 0 is typical, 0.1 about 10 % more."""

    level: float
    drift: float
    step: tuple[int, float]
    spike: tuple[int, float]
    reported: range

    @classmethod
    def drawn(cls, random: Random, quality: float) -> "_Course":
        """Most hospitals drift a little; some change from one month to the next, have one odd month, or report late."""
        step = random.gauss(0.0, 0.35) if random.random() < 0.1 else 0.0
        spike = random.choice((-1.2, 1.2)) if random.random() < 0.06 else 0.0
        first, last = 0, MONTHS
        kind = random.random()
        if kind < 0.03:
            first = random.randint(4, MONTHS - 2)
        elif kind < 0.05:
            last = random.randint(8, MONTHS - 1)
        return cls(
            level=quality + random.gauss(0.0, 0.08),
            drift=random.gauss(0.0, 0.14) / MONTHS,
            step=(random.randint(6, MONTHS - 3), step),
            spike=(random.randint(3, MONTHS - 1), spike),
            reported=range(first, last),
        )

    def effect(self, month: int) -> float:
        effect = self.level + self.drift * month
        if month >= self.step[0]:
            effect += self.step[1]
        return effect + self.spike[1] if month == self.spike[0] else effect


def _cases(random: Random, metric: Metric, effect: float, typical_cases: float) -> Cases:
    cases = max(1, round(typical_cases * random.gauss(1.0, 0.06)))
    if not metric.is_share:
        expected = metric.typical * exp(effect)
        return Cases(max(0, round(cases * expected + random.gauss(0.0, sqrt(cases * expected)))), cases)
    odds = metric.typical / (1.0 - metric.typical) * exp(effect)
    share = odds / (1.0 + odds)
    drawn = round(cases * share + random.gauss(0.0, sqrt(cases * share * (1.0 - share))))
    return Cases(min(max(drawn, 0), cases), cases)
