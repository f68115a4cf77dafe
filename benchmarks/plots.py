"""The plots of the report page, as SVG that is the same for the same figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.measure import Figures, Report

_REACHED: Final = "#2b7a4b"
_MISSED: Final = "#b3372f"
_BESIDE: Final = "#9aa5b1"
SERVICES: Final = ("signals", "workflow", "activity", "auth")
_ROW_INCHES: Final = 0.22

# Ids and dates would make every file new each time; text stays text.
mpl.rcParams.update({"svg.hashsalt": "quality-compass", "svg.fonttype": "none", "font.size": 8})


def reached(file: Path, reports: Sequence[Report]) -> None:
    """How far every figure is on the good side of what it has to reach: 2 is twice as good as asked."""
    ordered = sorted(reports, key=_room)
    figure, axes = _drawing(1 + _ROW_INCHES * len(ordered))
    rooms = [_room(report) for report in ordered]
    colours = [_REACHED if report.reached else _MISSED for report in ordered]
    axes.scatter(rooms, range(len(ordered)), c=colours, s=14, zorder=2)
    axes.hlines(range(len(ordered)), 1, rooms, colors=colours, linewidth=1)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(ordered)), [report.name for report in ordered])
    axes.set_ylim(-1, len(ordered))
    axes.set_xlabel("times as good as it has to be")
    _save(figure, file)


def _room(report: Report) -> float:
    return report.to_reach / report.ratio if report.less_is_better else report.ratio / report.to_reach


def rates(file: Path, reports: Sequence[Report]) -> None:
    """Ours beside what it is held against, as rates; lines from the least to the most of the rounds."""
    rows: list[tuple[Figures, str]] = []
    for report in reports:
        rows += [(figures, _BESIDE) for figures in (*report.beside, report.limit)]
        rows.append((report.ours, _REACHED if report.reached else _MISSED))
    rows.reverse()
    figure, axes = _drawing(0.8 + _ROW_INCHES * len(rows))
    for place, (figures, colour) in enumerate(rows):
        axes.barh(place, figures.median, color=colour, height=0.7)
        axes.hlines(place, min(figures.values), max(figures.values), colors="black", linewidth=1)
    axes.set_yticks(range(len(rows)), [figures.name.strip() for figures, _ in rows])
    axes.set_xlabel("a second")
    _save(figure, file)


def load(file: Path, steps: Sequence[Mapping[str, Any]]) -> None:
    """Requests a second and their p99 by the number of leaders, and the cores that it takes."""
    leaders = [step["leaders"] for step in steps]
    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(leaders, [step["requests_per_second"] for step in steps], "o-", color=_REACHED)
    above.set_ylabel("requests a second")
    beside = above.twinx()
    beside.plot(leaders, [step["p99"] for step in steps], "s--", color=_MISSED)
    beside.set_ylabel("p99, ms (dashed)")
    beside.set_yscale("log")
    names = sorted({name for step in steps for name in step["cores"]})
    most = sorted(names, key=lambda name: -max(step["cores"].get(name, 0.0) for step in steps))[:8]
    below.stackplot(leaders, [[step["cores"].get(name, 0.0) for step in steps] for name in most], labels=most)
    below.set_ylabel("cores")
    below.set_xlabel("leaders")
    below.legend(loc="upper left", fontsize=7, ncols=2)
    _save(figure, file)


def soak(file: Path, samples: Sequence[Mapping[str, Any]]) -> None:
    """Memory of the services and p99 over the time of the soak."""
    minutes = [sample["seconds"] / 60 for sample in samples]
    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for name in SERVICES:
        above.plot(minutes, [sample["memory_mib"][name] for sample in samples], label=name)
    above.set_ylim(bottom=0)
    above.set_ylabel("resident MiB")
    above.legend(loc="lower right", ncols=4)
    # Nothing is drawn where nobody was answered.
    p99 = [float("nan") if sample["p99"] is None else sample["p99"] for sample in samples]
    below.plot(minutes, p99, color=_MISSED)
    below.set_ylim(bottom=0)
    below.set_ylabel("p99 of requests, ms")
    below.set_xlabel("minutes")
    _save(figure, file)


def _drawing(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, height), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Figure, file: Path) -> None:
    figure.savefig(file, metadata={"Date": None})
