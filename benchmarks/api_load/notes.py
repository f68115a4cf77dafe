"""What the process with the leaders is given, and what it tells whoever asks it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import quantiles
from typing import Final, Protocol

import msgspec

PATIENCE_SECONDS: Final = 30.0
"""So long a leader waits for an answer. A request that failed counts as one that took as long: nobody had anything of
it, however soon it was refused."""

_CHANGES: Final = ("POST /api/signals", "PATCH /api/signals")


class Account(msgspec.Struct, frozen=True):
    """Somebody who is logged in; the refresh token is good once."""

    id: str
    role: str
    refresh_token: str


class Requests(msgspec.Struct, frozen=True):
    """What was asked and answered within some seconds."""

    users: int
    seconds: float
    milliseconds: dict[str, list[float]]
    """Of the requests that were answered, refusals included, by operation."""
    failures: dict[str, int]
    refusals: dict[str, int]
    late: list[float]
    """Milliseconds by which the process itself came too late, looked at all the time."""
    delivered: int
    """Events that the streams have brought since they began."""
    delivery_milliseconds: list[float]
    """From an event's own time to its reader, of a sample."""
    stream_troubles: dict[str, int]
    gaps: int
    """Streams of everything that have left a position out."""

    @property
    def all_milliseconds(self) -> list[float]:
        """Of every operation."""
        return [value for values in self.milliseconds.values() for value in values]

    @property
    def p99(self) -> float:
        """Of all requests in milliseconds, those that failed among them; NaN where there was none."""
        return percentile(self.all_milliseconds + [PATIENCE_SECONDS * 1000] * self.failed, 99)

    @property
    def changes(self) -> int:
        """Assignments, comments and moves that were made: what was answered and not refused."""
        answered = sum(len(values) for name, values in self.milliseconds.items() if name.startswith(_CHANGES))
        return answered - sum(number for what, number in self.refusals.items() if what.startswith(_CHANGES))

    @property
    def per_second(self) -> float:
        """Requests that were answered."""
        return len(self.all_milliseconds) / self.seconds

    @property
    def failed(self) -> int:
        """Requests without an answer of use."""
        return sum(self.failures.values())


class Followed(msgspec.Struct, frozen=True):
    """What one stream has seen: what fits `query` after `begun` up to `reached`, unless something is missing."""

    user: str
    query: str
    begun: int | None
    reached: int | None
    positions: list[int]
    connections: int


class Troubled(Protocol):
    """Whatever tells of some seconds what went wrong in them."""

    @property
    def failures(self) -> Mapping[str, int]:
        """Requests without an answer of use."""

    @property
    def stream_troubles(self) -> Mapping[str, int]:
        """Why streams ended, but for a token's end."""

    @property
    def gaps(self) -> int:
        """Streams of everything that have left a position out since they began."""


def troubles(seen: Sequence[Troubled]) -> list[str]:
    """What failed and what ended in all of it, each kind once."""
    failed, ended = Counter[str](), Counter[str]()
    for one in seen:
        failed.update(one.failures)
        ended.update(one.stream_troubles)
    return [
        *(f"failed: {what}: {number} times" for what, number in failed.items()),
        *(f"a stream: {what}: {number} times" for what, number in ended.items()),
    ]


def skipped(seen: Sequence[Troubled]) -> list[str]:
    """What streams have left out, which is told anew each time and no load excuses."""
    gaps = max((one.gaps for one in seen), default=0)
    return [f"{gaps} streams of everything have left a position out"] if gaps else []


def percentile(values: Sequence[float], which: int) -> float:
    """Of some milliseconds: never more than the largest of them; NaN where there are none."""
    if len(values) > 1:
        return quantiles(values, n=100, method="inclusive")[which - 1]
    return values[0] if values else float("nan")
