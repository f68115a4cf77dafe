"""Rounds of ours and of the limit in turn, and what is said of them."""

import json
import platform
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).parent / "results"

Round = Callable[[], Awaitable[float]]
"""Does the work once; returns its figure, for example rows per second."""


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
    """One benchmark: ours, what it is held against, and the ratio of the medians to reach."""

    name: str
    ours: Figures
    limit: Figures
    to_reach: float
    notes: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Ours over the limit, by their medians; of rates, so that more is better."""
        return self.ours.median / self.limit.median


async def alternate(rounds: int, ours: Round, limit: Round) -> tuple[list[float], list[float]]:
    """Run both in turn, so that a machine that gets slower slows both; one round of each is not counted."""
    pairs: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        first = await limit()
        pairs.append((await ours(), first))
    return [mine for mine, _ in pairs[1:]], [theirs for _, theirs in pairs[1:]]


def show(reports: list[Report]) -> str:
    """The table for the screen."""
    lines = [f"{'benchmark':<34}{'min':>12}{'median':>12}{'max':>12}  {'unit':<12}{'ratio':>7}{'to reach':>10}"]
    for report in reports:
        for figures in (report.ours, report.limit):
            row = (
                f"{figures.name:<34}{min(figures.values):>12,.0f}{figures.median:>12,.0f}{max(figures.values):>12,.0f}"
            )
            mine = figures is report.ours
            verdict = f"{report.ratio:>7.2f}{report.to_reach:>10.2f}" if mine else ""
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
