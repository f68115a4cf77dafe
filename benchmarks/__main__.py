"""Run the benchmarks that are named, or all, and print and store their figures."""

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from benchmarks import ingest, relay
from benchmarks.measure import Report, show, store
from benchmarks.servers import Servers, servers

BENCHMARKS: dict[str, Callable[[Servers, int], Coroutine[Any, Any, list[Report]]]] = {
    "ingest": ingest.run,
    "relay": relay.run,
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all unless named")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of each side (5)")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    reports: list[Report] = []
    for name in arguments.names or BENCHMARKS:
        print(f"{name} ...", flush=True)
        with servers() as pair:
            reports += _run(BENCHMARKS[name](pair, arguments.rounds))
    print(show(reports))
    print(f"stored in benchmarks/results/{store(reports).name}")


def _run(benchmark: Coroutine[Any, Any, list[Report]]) -> list[Report]:
    """On the event loop that the services run on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(benchmark)


if __name__ == "__main__":
    main()
