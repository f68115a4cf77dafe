"""Rounds of ours and of the limit in turn, and what is said of them."""

import json
import platform
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).parent / "results"

_WHOLE_FROM = 100

Round = Callable[[], Awaitable[float]]
"""Does the work once; returns its figure, for example rows per second."""


class RoundError(Exception):
    """A round did not do what it is measured for."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One thing measured several times."""

    name: str
    unit: str
    values: list[float]

    @property
    def median(self) -> float:
        """The middle value: machines are noisy, and the extremes are the noise."""
        return median(self.values)


@dataclass(frozen=True, slots=True)
class Report:
    """One benchmark: ours, what it is held against, and the ratio of the medians to reach; what else was measured."""

    name: str
    ours: Figures
    limit: Figures
    to_reach: float
    notes: list[str] = field(default_factory=list)
    less_is_better: bool = False
    beside: list[Figures] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Ours over the limit, by their medians; NaN, which reaches nothing, where the limit did nothing at all."""
        return self.ours.median / self.limit.median if self.limit.median else float("nan")

    @property
    def reached(self) -> bool:
        """Whether the ratio is what it has to be."""
        return self.ratio <= self.to_reach if self.less_is_better else self.ratio >= self.to_reach


async def alternate(rounds: int, ours: Round, limit: Round) -> tuple[list[float], list[float]]:
    """Run both in turn, so that a machine that gets slower slows both; one round of each is not counted."""
    pairs: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        first = await limit()
        pairs.append((await ours(), first))
    return [mine for mine, _ in pairs[1:]], [theirs for _, theirs in pairs[1:]]


def show(reports: list[Report]) -> str:
    """The table for the screen."""
    lines = [f"{'benchmark':<46}{'min':>10}{'median':>10}{'max':>10}  {'unit':<12}{'ratio':>7}{'to reach':>12}"]
    for report in reports:
        for figures in (report.ours, report.limit, *report.beside):
            digits = 2 if figures.median < _WHOLE_FROM else 0
            values = (min(figures.values), figures.median, max(figures.values))
            row = f"{figures.name:<46}" + "".join(f"{value:>10,.{digits}f}" for value in values)
            verdict = ""
            if figures is report.ours:
                sign = "<=" if report.less_is_better else ">="
                verdict = f"{report.ratio:>7.2f}{sign:>6}{report.to_reach:>6.2f}{'' if report.reached else '  MISSED'}"
            lines.append(f"{row}  {figures.unit:<12}{verdict}")
        lines += [f"    {note}" for note in report.notes]
    return "\n".join(lines)


def store(reports: list[Report]) -> Path:
    """Write the figures beside the benchmarks, one file per run."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    file = RESULTS / f"{now:%Y-%m-%dT%H%M%SZ}.json"
    content = {
        "at": now.isoformat(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "reports": [asdict(report) | {"ratio": report.ratio} for report in reports],
    }
    file.write_text(json.dumps(content, indent=2) + "\n")
    return file
