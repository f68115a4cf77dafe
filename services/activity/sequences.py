"""Which sequence numbers of a subject have come, and which are missing. Pure functions and values."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class Subject(NamedTuple):
    """What sequence numbers are counted for."""

    source: str
    id: UUID


@dataclass(frozen=True, slots=True)
class Gap:
    """A run of missing numbers, both ends included. ``noticed_at`` is None until it is stored."""

    first: int
    last: int
    noticed_at: datetime | None = None


@dataclass(slots=True)
class Received:
    """The numbers of one subject that have come: 1 to ``last``, but for the gaps."""

    last: int = 0
    gaps: list[Gap] = field(default_factory=list)

    def take(self, sequence: int) -> bool:
        """Whether this number is new; from now on it is not. What it skips becomes a gap, a gap it fills closes."""
        if sequence > self.last:
            if sequence > self.last + 1:
                self.gaps.append(Gap(self.last + 1, sequence - 1))
            self.last = sequence
            return True
        for index, gap in enumerate(self.gaps):
            if gap.first <= sequence <= gap.last:
                self.gaps[index : index + 1] = _without(gap, sequence)
                return True
        return False


def _without(gap: Gap, sequence: int) -> Sequence[Gap]:
    before = Gap(gap.first, sequence - 1, gap.noticed_at)
    after = Gap(sequence + 1, gap.last, gap.noticed_at)
    return [part for part in (before, after) if part.first <= part.last]
