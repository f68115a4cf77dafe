"""What the gateway adds to a request with a token; beside a proxy in Python that does the same.

One connection, one request after the other, so that what is measured is the way and not the queue. The service
answers its smallest read (`GET /api/metrics` without metrics). Each round asks straight, through Envoy and through
the proxy in turn, request by request: a machine that gets slower slows all three.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import httpx
import pytest

from benchmarks.load import Connection
from benchmarks.measure import Figures, Report
from deploy.local.ports import accepts_connections, free_port
from deploy.local.processes import Command, ManagedProcess, poll_until
from deploy.local.stack import LocalStack
from tests.e2e.tokens import login
from tests.support.stack import UNLIMITED, free_settings, running, temporary_state_dir

REQUESTS = 1000
"""Of each kind in a round."""

TO_REACH_MILLISECONDS = 0.3
_PATH = "/api/metrics"
_WARM_UP = 200


@dataclass
class Way:
    """One way to the service, and how long it took there in the present round, in milliseconds."""

    connection: Connection
    headers: Mapping[str, str]
    took: list[float]

    async def ask(self) -> None:
        """One request."""
        started = perf_counter()
        await self.connection.get(_PATH, self.headers)
        self.took.append((perf_counter() - started) * 1000)


async def run(rounds: int) -> list[Report]:
    """Measure on a stack of its own."""
    with _servers() as (urls, headers):
        # A client that costs little: a larger one would take the gateway's additional headers for the gateway's time.
        ways = [Way(await Connection.open(url), headers, []) for url in urls]
        for way in ways:
            for _ in range(_WARM_UP):
                await way.ask()
        medians: list[list[float]] = []
        for _ in range(rounds + 1):
            for way in ways:
                way.took.clear()
            for _ in range(REQUESTS):
                for way in ways:
                    await way.ask()
            medians.append([median(way.took) for way in ways])
        for way in ways:
            await way.connection.close()
    counted = medians[1:]
    added = [through - direct for direct, through, _ in counted]
    python = [through - direct for direct, _, through in counted]
    straight_figures = ", ".join(f"{direct:.2f}" for direct, _, _ in counted)
    return [
        Report(
            "gateway",
            Figures("gateway: added at p50", "ms", added),
            Figures("  to stay below", "ms", [TO_REACH_MILLISECONDS] * rounds),
            to_reach=1.0,
            less_is_better=True,
            notes=[
                f"{REQUESTS:,} requests of each kind a round, in turn; straight to the service: {straight_figures} ms"
            ],
        ),
        Report(
            "gateway beside a proxy",
            Figures("gateway: added at p50", "ms", added),
            Figures("  a proxy of FastAPI and httpx", "ms", python),
            to_reach=1.0,
            less_is_better=True,
        ),
    ]


@contextmanager
def _servers() -> Iterator[tuple[Sequence[str], Mapping[str, str]]]:
    """Addresses of the service, the gateway and the proxy, and the headers of somebody who may read."""
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in (UNLIMITED | {"COMPASS_ACCESS_TOKEN_SECONDS": "900"}).items():
            environment.setenv(name, value)
        state_dir = stack.enter_context(temporary_state_dir())
        everything = stack.enter_context(running(LocalStack(free_settings(state_dir))))
        service = everything.service("signals").url
        proxy = _start_proxy(stack, everything, service)
        headers = {"authorization": f"Bearer {login(everything, 'viewer')}"}
        jwks = json.dumps(httpx.get(f"{everything.gateway_url}/.well-known/jwks.json").json())
        # The proxy is told the keys once.
        httpx.get(f"{proxy}{_PATH}", headers={**headers, "x-benchmark-jwks": jwks}, timeout=30).raise_for_status()
        yield (service, everything.gateway_url, proxy), headers


def _start_proxy(stack: ExitStack, everything: LocalStack, service: str) -> str:
    port = free_port()
    command = Command([sys.executable, "-m", "benchmarks.proxy", str(port), service])
    process = ManagedProcess("proxy", command, everything.settings.local_dir)
    stack.callback(process.stop)
    process.start()
    if not poll_until(lambda: accepts_connections(port) or not process.is_running, 60):
        raise RuntimeError(f"the proxy did not start: {process.log_tail()}")
    return f"http://127.0.0.1:{port}"
