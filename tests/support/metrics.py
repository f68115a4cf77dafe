"""The tables of docs/metrics.md, against which services, gateway, rules and dashboards are held."""

import re
from dataclasses import dataclass
from typing import Final

from deploy.local.processes import PROJECT_ROOT

_ROW: Final = re.compile(
    r"\| `(?P<name>compass_\w+)` \| (?P<kind>\w+) \| (?P<labels>[^|]+) \| (?P<services>[^|]+) \| (?P<help>.+) \|"
)
_GATEWAY_ROW: Final = re.compile(r"\| `(?P<name>envoy_\w+)` \| (?P<kind>\w+) \| (?P<labels>[^|]+) \| (?P<help>.+) \|")
SERVICES: Final = ("signals", "workflow", "activity", "auth")


@dataclass(frozen=True, slots=True)
class Documented:
    """One row."""

    kind: str
    labels: frozenset[str]
    services: frozenset[str]
    help: str

    def series(self, name: str) -> list[str]:
        """The names that its samples have."""
        return [f"{name}_{part}" for part in ("bucket", "sum", "count")] if self.kind == "histogram" else [name]


def documented() -> dict[str, Documented]:
    """All rows, by the metric's name."""
    found: dict[str, Documented] = {}
    for line in _lines("compass_"):
        row = _ROW.fullmatch(line)
        assert row, f"not as the other rows: {line}"
        assert row["name"] not in found, f"twice: {row['name']}"
        services = SERVICES if row["services"] == "all" else row["services"].split(", ")
        labels = frozenset(re.findall(r"`(\w+)`", row["labels"]))
        found[row["name"]] = Documented(row["kind"], labels, frozenset(services), row["help"])
    return found


def gateway_series() -> dict[str, frozenset[str]]:
    """The labels of the samples that the gateway tells, by their names."""
    found: dict[str, frozenset[str]] = {}
    for line in _lines("envoy_"):
        row = _GATEWAY_ROW.fullmatch(line)
        assert row, f"not as the other rows: {line}"
        metric = Documented(
            row["kind"], frozenset(re.findall(r"`(\w+)`", row["labels"])), frozenset({"gateway"}), row["help"]
        )
        assert not found.keys() & metric.series(row["name"]), f"twice: {row['name']}"
        found |= dict.fromkeys(metric.series(row["name"]), metric.labels)
    return found


def _lines(prefix: str) -> list[str]:
    text = (PROJECT_ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith(f"| `{prefix}")]
