"""What the process with the leaders is given, and what it tells whoever asks it."""

from collections.abc import Sequence
from statistics import quantiles

import msgspec


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


def percentile(values: Sequence[float], which: int) -> float:
    """Of some milliseconds; NaN where there are too few."""
    return quantiles(values, n=100)[which - 1] if len(values) > 1 else float("nan")
