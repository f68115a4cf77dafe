"""Run the benchmarks that are named, or all, and print and store their figures."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import uvloop

from benchmarks import (
    bulk,
    export,
    feed_latency,
    feed_marks,
    feed_page,
    gateway,
    ingest,
    ingest_peer,
    login_flood,
    paced,
    reading,
    relay,
    relay_peer,
)
from benchmarks.api_load import run as api_load
from benchmarks.measure import Report, show, store
from benchmarks.servers import Servers, servers

BENCHMARKS: dict[str, Callable[[Servers, int], Coroutine[Any, Any, list[Report]]]] = {
    "bulk": bulk.run,
    "ingest": ingest.run,
    "relay": relay.run,
    "feed_page": feed_page.run,
    "feed_marks": feed_marks.run,
    "export": export.run,
}
ON_A_STACK: dict[str, Callable[[int], Coroutine[Any, Any, list[Report]]]] = {
    "reading": reading.run,
    "paced": paced.run,
    "gateway": gateway.run,
    "feed_latency": feed_latency.run,
    "login_flood": login_flood.run,
    "api_load": api_load.run,
}
"""Those that start all processes themselves."""
BESIDE_A_PEER: dict[str, Callable[[int, int | None], Coroutine[Any, Any, list[Report]]]] = {
    "ingest_peer": ingest_peer.inserts,
    "ingest_peer_updates": ingest_peer.updates,
    "ingest_peer_bare": partial(ingest_peer.inserts, bare=True),
    "ingest_peer_bare_updates": partial(ingest_peer.updates, bare=True),
    "relay_peer": relay_peer.run,
}
"""Those that download a peer, and can be tried with another size than their own."""


def main() -> int:
    """The command line; 1 where a load lost something, which makes its figures worth nothing."""
    names = [*BENCHMARKS, *ON_A_STACK, *BESIDE_A_PEER]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(names)}; all unless named")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of each side (5)")
    parser.add_argument("--size", type=int, help="signals or messages of a benchmark beside a peer, to try it")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(names)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    reports: list[Report] = []
    for name in arguments.names or names:
        print(f"{name} ...", flush=True)
        if name in ON_A_STACK:
            reports += _run(ON_A_STACK[name](arguments.rounds))
            continue
        if name in BESIDE_A_PEER:
            reports += _run(BESIDE_A_PEER[name](arguments.rounds, arguments.size))
            continue
        with servers() as pair:
            reports += _run(BENCHMARKS[name](pair, arguments.rounds))
    print(show(reports))
    if arguments.size is None:  # a try is no figure
        print(f"stored in benchmarks/results/{store(reports).name}")
    return 1 if api_load.complained(reports) else 0


def _run(benchmark: Coroutine[Any, Any, list[Report]]) -> list[Report]:
    """On the event loop that the services run on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(benchmark)


if __name__ == "__main__":
    sys.exit(main())
