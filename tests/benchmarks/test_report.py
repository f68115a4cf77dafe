"""The report page: what is taken from which run, and where it is written."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import plots, report
from benchmarks.measure import Figures, Report


def stored(name: str, value: float, **more: Any) -> dict[str, Any]:
    """A report as a run stores it."""
    figures = {"name": name, "unit": "ms", "values": [value]}
    return {
        "name": name,
        "ours": figures,
        "limit": figures | {"name": "  limit", "values": [2.0]},
        "to_reach": 1.0,
        "notes": [],
        "less_is_better": True,
        **more,
    }


def test_of_each_benchmark_the_newest_is_kept_and_of_soaks_the_longest() -> None:
    kept = report.newest(
        [
            {"at": "1", "reports": [stored("list", 1.0), stored("gone since", 5.0)]},
            {"soak": [{"seconds": 1}, {"seconds": 2}]},
            {"at": "2", "reports": [stored("list", 3.0)]},
            {"soak": [{"seconds": 1}]},
        ]
    )
    assert [(one["name"], one["at"], one["ours"]["values"]) for one in kept["reports"]] == [
        ("gone since", "1", [5.0]),
        ("list", "2", [3.0]),
    ]
    assert kept["soak"] == [{"seconds": 1}, {"seconds": 2}]
    # What is kept is older than any run, and its time stays.
    again = report.newest([kept, {"at": "3", "reports": [stored("list", 4.0)]}])
    assert [(one["name"], one["at"]) for one in again["reports"]] == [("gone since", "1"), ("list", "3")]
    assert again["soak"] == kept["soak"]


def soak(minutes: int, every: int = 5, **more: Any) -> dict[str, Any]:
    """A soak as it is stored, with what the page takes of each sample."""
    memory = dict.fromkeys(plots.SERVICES, 100.0)
    return {
        "samples": [
            {"seconds": seconds + 0.4, "p99": 80.2, "memory_mib": memory} | more
            for seconds in range(every, minutes * 60 + 1, every)
        ]
    }


def test_the_longest_soak_is_the_one_that_took_longest_however_many_of_its_samples_are_drawn() -> None:
    # An hour is thinned to fewer samples than there are of twenty minutes.
    hour, short = report._of_soak(soak(60)), report._of_soak(soak(19))
    assert len(hour["soak"]) < len(short["soak"])
    for results in ([hour, short], [short, hour]):
        assert report.newest(results)["soak"] == hour["soak"]
    assert [drawn["soak"][-1]["seconds"] for drawn in (hour, short)] == [3600, 1140]


def test_a_sample_without_an_answer_is_left_out_of_the_plot(tmp_path: Path) -> None:
    content = soak(2)
    content["samples"][3]["p99"] = json.loads(msgspec.json.encode(float("nan")))
    drawn = report._of_soak(content)["soak"]
    assert [sample["p99"] for sample in drawn[2:5]] == [80, None, 80]
    assert json.loads(json.dumps(drawn)) == drawn
    plots.soak(tmp_path / "soak.svg", drawn)
    plots.soak(tmp_path / "whole.svg", [sample | {"p99": 80} for sample in drawn])
    assert (tmp_path / "soak.svg").read_text() != (tmp_path / "whole.svg").read_text()


def test_every_benchmark_has_a_part_of_the_page() -> None:
    names = [
        "ingest, all new",
        "relay beside a peer",
        "feed p50, 20 of all",
        "feed, unread by its SQL",
        "gateway",
        "list",
    ]
    reports = [Report(name, Figures(name, "ms", [1.0]), Figures("limit", "ms", [2.0]), 1.0) for name in names]
    found = {section: [one.name for one in part] for section, part in report.by_section(reports).items()}
    assert found == {
        "ingest": ["ingest, all new"],
        "relay": ["relay beside a peer"],
        "feed": ["feed p50, 20 of all"],
        "feed-pages": ["feed, unread by its SQL"],
        "gateway": ["gateway"],
        "leaders": [],
        "reading": ["list"],
    }


def test_a_table_replaces_the_one_before_and_nothing_else() -> None:
    page = "a\n<!-- relay -->\nold\ntable\n<!-- end -->\nb\n<!-- feed -->\n<!-- end -->\n"
    once = report.replaced(page, "relay", "new")
    assert once == "a\n<!-- relay -->\nnew\n<!-- end -->\nb\n<!-- feed -->\n<!-- end -->\n"
    assert report.replaced(once, "relay", "new") == once
    with pytest.raises(ValueError, match="no place for ingest"):
        report.replaced(page, "ingest", "new")


def test_the_page_of_the_repository_is_what_its_figures_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "README.md"
    page.write_text(report.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    figures = tmp_path / "figures"
    figures.mkdir()
    kept = (report.FIGURES / "figures.json").read_text(encoding="utf-8")
    (figures / "figures.json").write_text(kept, encoding="utf-8")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "FIGURES", figures)
    monkeypatch.setattr(report, "_KEPT", figures / "figures.json")
    monkeypatch.setattr(report, "RESULTS", tmp_path / "none")
    report.main()
    assert page.read_text(encoding="utf-8") == report.PAGE.read_text(encoding="utf-8")
    assert json.loads((figures / "figures.json").read_text(encoding="utf-8")) == json.loads(kept)
    assert {file.name for file in report.FIGURES.glob("*.svg")} == {file.name for file in figures.glob("*.svg")}
    for named in figures.glob("*.svg"):
        assert f"figures/{named.name}" in page.read_text(encoding="utf-8")
