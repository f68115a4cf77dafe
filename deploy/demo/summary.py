"""What a run did, for people and for programs."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from deploy.demo.months import period
from deploy.demo.outgoing import Batch, Outgoing

_LONGEST_LIST = 12


@dataclass(slots=True)
class Summary:
    """Counts of what went out and what did not."""

    batch: Batch
    destination: str
    """In words: where the signals went, if anywhere."""
    is_published: bool
    """Whether they went to Kafka."""
    seconds: float = 0.0
    signals: int = 0
    by_domain: Counter[str] = field(default_factory=Counter)
    by_metric: Counter[str] = field(default_factory=Counter)
    by_dimensions: Counter[str] = field(default_factory=Counter)

    def count(self, message: Outgoing) -> None:
        """Count one message that has gone out."""
        self.signals += 1
        self.by_domain[message.domain] += 1
        self.by_metric[message.metric_id] += 1
        self.by_dimensions[message.dimensions] += 1

    @property
    def as_of(self) -> str | None:
        """The last month of the figures, where they are known."""
        return None if self.batch.month is None else period(self.batch.month)

    def as_json(self) -> dict[str, Any]:
        """For programs. `published` is 0 unless the signals went to Kafka."""
        return {
            "published": self.signals if self.is_published else 0,
            "signals": self.signals,
            "destination": self.destination,
            "as_of": self.as_of,
            "seconds": round(self.seconds, 3),
            "by_domain": dict(self.by_domain),
            "by_metric": dict(self.by_metric),
            "by_dimensions": dict(self.by_dimensions),
            "left_out": dict(self.batch.left_out),
        }

    def show(self, console: Console) -> None:
        """For people: styled on a terminal, plain text elsewhere."""
        when = f" as of {self.as_of}" if self.as_of else ""
        if self.signals:
            rate = f", {self.signals / self.seconds:,.0f} a second" if self.seconds > 0 else ""
            lines = [f"{self.signals:,} signals{when} {self.destination} in {self.seconds:.1f} s{rate}"]
        else:
            lines = [f"Nothing can be computed{when} yet: no signals were published."]
        for title, counts in (
            ("by domain", self.by_domain),
            ("by metric", self.by_metric),
            ("by dimensions", self.by_dimensions),
            ("left out", self.batch.left_out),
        ):
            if counts:
                lines.append(f"  {title}")
                lines.extend(f"    {count:>9,}  {name}" for name, count in counts.most_common(_LONGEST_LIST))
                if (more := len(counts) - _LONGEST_LIST) > 0:
                    lines.append(f"               and {more} more")
        console.print("\n".join(lines), markup=False, soft_wrap=True)
