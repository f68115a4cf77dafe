"""The report page: of every benchmark the newest figures, as tables in README.md and as plots; `make report`.

Figures come from `benchmarks/results`, which every machine has its own of. The newest of each benchmark is kept in
`figures/figures.json`, with when it was measured, so that the page can be made again where nothing was measured.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import plots
from benchmarks.measure import RESULTS, Figures, Report

FIGURES: Final = Path(__file__).parent / "figures"
PAGE: Final = Path(__file__).parent / "README.md"
_KEPT: Final = FIGURES / "figures.json"
_WHOLE_FROM: Final = 100
_SAMPLES_DRAWN: Final = 120

SECTIONS: Final[Mapping[str, str]] = {
    "ingest": r"ingest",
    "relay": r"relay",
    "feed": r"feed p|feed memory",
    "feed-pages": r"feed, |mark |/api/feed|export",
    "gateway": r"gateway|login flood",
    "leaders": r"api_load|bulk|paced",
    "reading": r"",
}
"""The parts of the page, and how the names of their benchmarks begin; the last takes what is left."""


def main() -> None:
    """Take up what was measured, draw it, and write the tables into the page."""
    kept = json.loads(_KEPT.read_text(encoding="utf-8")) if _KEPT.exists() else {}
    kept = newest([*([kept] if kept else []), *_results()])
    FIGURES.mkdir(exist_ok=True)
    _KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    stored = {report["name"]: report for report in kept["reports"]}
    measured = [_report(report) for report in kept["reports"]]
    sections = by_section(measured)
    plots.reached(FIGURES / "reached.svg", measured)
    for section in ("ingest", "relay"):
        plots.rates(FIGURES / f"{section}.svg", sections[section])
    if steps := stored.get("api_load", {}).get("steps"):
        plots.load(FIGURES / "load.svg", steps)
    if kept["soak"]:
        plots.soak(FIGURES / "soak.svg", kept["soak"])
    text = PAGE.read_text(encoding="utf-8")
    for section, reports in sections.items():
        text = replaced(text, section, table(reports, stored))
    PAGE.write_text(text, encoding="utf-8")
    print(f"{len(measured)} figures, {sum(report.reached for report in measured)} of them reach what they have to")


def _results() -> list[dict[str, Any]]:
    """What was measured here, the oldest first."""
    found = []
    for file in sorted(RESULTS.glob("*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        found.append(_of_soak(content) if "samples" in content else content)
    return found


def _of_soak(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the plot needs of a soak, of as many samples as can be told apart on it; p99 is null where none answered."""
    samples = content["samples"]
    # The last is always there: it says how long the soak was.
    samples = [*samples[:-1][:: max(1, len(samples) // _SAMPLES_DRAWN)], samples[-1]]
    return {
        "soak": [
            {
                "seconds": round(sample["seconds"]),
                "p99": None if sample["p99"] is None else round(sample["p99"]),
                "memory_mib": {name: round(sample["memory_mib"][name], 1) for name in plots.SERVICES},
            }
            for sample in samples
        ]
    }


def newest(results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Of each benchmark the last that is given, with when it was measured; and the longest soak."""
    reports: dict[str, Any] = {}
    longest: list[Any] = []
    for result in results:
        # By its time: each has as many samples as can be drawn.
        if (soak := result.get("soak")) and (not longest or soak[-1]["seconds"] >= longest[-1]["seconds"]):
            longest = soak
        for report in result.get("reports", []):
            # A kept one has the time of its own run.
            reports[report["name"]] = {"at": result.get("at"), **report}
    return {"reports": [reports[name] for name in sorted(reports)], "soak": longest}


def _report(stored: Mapping[str, Any]) -> Report:
    return Report(
        stored["name"],
        Figures(**stored["ours"]),
        Figures(**stored["limit"]),
        stored["to_reach"],
        stored["notes"],
        stored["less_is_better"],
        [Figures(**one) for one in stored.get("beside", [])],
    )


def by_section(reports: Iterable[Report]) -> dict[str, list[Report]]:
    """The reports of each part of the page."""
    found: dict[str, list[Report]] = {section: [] for section in SECTIONS}
    for report in reports:
        found[next(section for section, names in SECTIONS.items() if re.match(names, report.name))].append(report)
    return found


def table(reports: Sequence[Report], stored: Mapping[str, Any]) -> str:
    """Of a part of the page."""
    lines = [
        "| figure | ours: min / median / max | held against: median | ratio | to reach | measured |",
        "|---|---|---|---|---|---|",
    ]
    for report in reports:
        ours, limit = report.ours, report.limit
        sign = "≤" if report.less_is_better else "≥"
        verdict = f"{report.ratio:.2f}" if report.reached else f"**{report.ratio:.2f}, missed**"
        day = (stored[report.name]["at"] or "")[:10]
        spread = " / ".join(_number(value) for value in (min(ours.values), ours.median, max(ours.values)))
        held = f"{limit.name.strip()}: {_number(limit.median)}"
        lines.append(
            f"| {ours.name.strip()} | {spread} {ours.unit} | {held} | {verdict} | {sign} {report.to_reach:g} | {day} |"
        )
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= _WHOLE_FROM else f"{value:.2f}"


def replaced(text: str, section: str, new: str) -> str:
    """The page with another table in this part.

    Raises:
        ValueError: the page has no place for it.
    """
    begin, end = f"<!-- {section} -->", "<!-- end -->"
    if begin not in text:
        raise ValueError(f"the page has no place for {section}")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{new}\n{end}{rest.partition(end)[2]}"


if __name__ == "__main__":
    main()
