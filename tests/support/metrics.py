"""The tables of docs/metrics.md, against which services, rules and dashboards are held."""

import re
from dataclasses import dataclass
from typing import Final

from deploy.local.processes import PROJECT_ROOT

_ROW: Final = re.compile(
    r"\| `(?P<name>compass_\w+)` \| (?P<kind>\w+) \| (?P<labels>[^|]+) \| (?P<services>[^|]+) \| (?P<help>.+) \|"
)
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
    for line in (PROJECT_ROOT / "docs" / "metrics.md").read_text(encoding="utf-8").splitlines():
        if not line.startswith("| `"):
            continue
        row = _ROW.fullmatch(line)
        assert row, f"not as the other rows: {line}"
        assert row["name"] not in found, f"twice: {row['name']}"
        services = SERVICES if row["services"] == "all" else row["services"].split(", ")
        labels = frozenset(re.findall(r"`(\w+)`", row["labels"]))
        found[row["name"]] = Documented(row["kind"], labels, frozenset(services), row["help"])
    return found
