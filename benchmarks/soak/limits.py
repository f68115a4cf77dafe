"""By what a soak is judged, and why it is these figures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.soak.sampling import Sample

SLOPES_FROM_MINUTES: Final = 20.0
"""In less time an allocator that fills its arenas, or one vacuum more or less, looks like growth by the hour."""

SERVICES: Final = frozenset({"signals", "workflow", "activity", "auth"})

QUEUES: Final = frozenset(
    {
        *(f"{service}.outbox" for service in SERVICES),
        *(f"{service}.inbox" for service in SERVICES),
        "signals.option_counts",
        "signals.option_deltas",
        "signals.waiting_workflow_states",
        "activity.audit_head",
        "activity.sequence_gaps",
        "auth.login_throttles",
    }
)
"""Tables whose rows come and go, or stay as many as they are: all that they gain is bloat."""

_POOLS: Final = 20.0
_BESIDE_THE_POOLS: Final = 6.0
"""The relay's and the streams' listener's; the rest is for those that are just being replaced."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What one kind of figure may be (`most`, in any sample), and by how much it may grow in an hour.

    `of` finds the figures of a sample by their names, and `applies` tells which of them are meant; there are some
    unless `may_be_none`. Where slopes are judged, `settles` leaves the warm-up out of the largest value: it begins
    with what filling the database has left.
    """

    kind: str
    unit: str
    of: Callable[[Sample], Mapping[str, float]]
    applies: Callable[[str], bool] = lambda _: True
    most: float | None = None
    growth: float | None = None
    may_be_none: bool = False
    settles: bool = False


def limits(users: int) -> list[Limit]:
    """All of them, for so many leaders with a stream each."""

    def only(*names: str) -> Callable[[str], bool]:
        return lambda name: name in names

    def service(name: str) -> bool:
        return name in SERVICES

    def memory(sample: Sample) -> Mapping[str, float]:
        return sample.memory_mib

    def handles(sample: Sample) -> Mapping[str, float]:
        return sample.handles

    return [
        # What a service may have after 100,000 signals. A leak of 50 bytes in each of 130 requests a second is 22 MiB
        # in an hour; an allocator still adds some once it is warm.
        Limit("memory", "MiB", memory, service, most=250.0, growth=20.0),
        # All of its heap is touched at the start, and a broker whose heap is full ends, which is a failure. What
        # grows is what it maps of its logs, and what is not in its heap.
        Limit("memory", "MiB", memory, only("kafka"), most=1200.0, growth=120.0),
        Limit("memory", "MiB", memory, only("gateway"), most=512.0, growth=20.0),
        # Some fifty processes, each of which keeps the plans and the catalogue of what it has run.
        Limit("memory", "MiB", memory, only("postgres"), most=1000.0, growth=60.0),
        # Some fifty of its own, and one for each request at the same time, whose connections the gateway keeps for a
        # while: now more of them, now fewer. A line through an hour of that is off by some 2, and one through the
        # gateway's own by some 10. A stream is one more for the activity service.
        Limit("handles", "", handles, only("signals", "workflow", "auth"), most=100.0 + users / 2, growth=10.0),
        Limit("handles", "", handles, only("activity"), most=100.0 + 2 * users, growth=10.0),
        # A stream is two for the gateway, and every leader has connections for requests, too.
        Limit("handles", "", handles, only("gateway"), most=200.0 + 8 * users, growth=40.0),
        Limit("handles", "", handles, only("kafka"), most=2000.0, growth=60.0),
        # A pool that is not full yet takes one more now and then, until it is.
        Limit("connections", "", lambda sample: sample.connections, most=_POOLS + _BESIDE_THE_POOLS, growth=8.0),
        # A month at once leaves an outbox of its size, until the next vacuum that finds nothing at its end.
        Limit(
            "table", "MiB", lambda sample: sample.table_mib, QUEUES.__contains__, most=64.0, growth=4.0, settles=True
        ),
        # Between one vacuum and the next they come and go; more and more of them is a vacuum that does not keep up.
        Limit("dead rows", "share", _dead_share_of_large_tables, growth=0.2, may_be_none=True),
        # A machine may stop for a while, a relay may not.
        Limit("outbox age", "s", lambda sample: sample.outbox_oldest_seconds, most=60.0, growth=0.5),
        Limit("lag", "messages", lambda sample: sample.lag, most=5000.0, growth=50.0),
        # Each leader has one. Where one is cut, the next may be there before the service knows; one that is never
        # forgotten is one more for each token that ends.
        Limit("streams", "", lambda sample: {"activity": sample.readers}, most=5.0 + 1.1 * users, growth=4.0),
        # Nothing is broken here on purpose: whatever had to begin again has a defect.
        Limit("restarts", "", lambda sample: sample.restarts, most=0.0),
        Limit("dead letters", "", lambda sample: sample.dead_letters, most=0.0),
        # How long a request takes is for benchmarks; that it takes longer by the hour is for here. That nobody was
        # answered at all is a complaint of its own.
        Limit("requests", "ms", lambda sample: {"p99": sample.p99}, growth=100.0, may_be_none=True),
    ]


_LARGE_MIB: Final = 8.0


def _dead_share_of_large_tables(sample: Sample) -> Mapping[str, float]:
    """In small ones a few dead rows are most of it, and take no room."""
    return {name: share for name, share in sample.dead_share.items() if sample.table_mib[name] >= _LARGE_MIB}
