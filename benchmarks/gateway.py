"""What the gateway adds to a request with a token; beside a proxy in Python that does the same.

One connection, one request after the other, so that what is measured is the way and not the queue. The service
answers its smallest read (`GET /api/metrics` without metrics). Each round asks straight, through Envoy and through
the proxy in turn, request by request: a machine that gets slower slows all three.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import httpx
import pytest

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

    client: httpx.Client
    took: list[float]

    def ask(self) -> None:
        """One request."""
        started = perf_counter()
        answer = self.client.get(_PATH)
        self.took.append((perf_counter() - started) * 1000)
        assert answer.status_code == 200, answer.text


async def run(rounds: int) -> list[Report]:
    """Measure on a stack of its own."""
    with _ways() as (straight, envoy, proxy):
        ways = (straight, envoy, proxy)
        medians: list[list[float]] = []
        for _ in range(rounds + 1):
            for way in ways:
                way.took.clear()
            for _ in range(REQUESTS):
                for way in ways:
                    way.ask()
            medians.append([median(way.took) for way in ways])
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
def _ways() -> Iterator[tuple[Way, Way, Way]]:
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in (UNLIMITED | {"COMPASS_ACCESS_TOKEN_SECONDS": "900"}).items():
            environment.setenv(name, value)
        state_dir = stack.enter_context(temporary_state_dir())
        everything = stack.enter_context(running(LocalStack(free_settings(state_dir))))
        service = everything.service("signals").url
        proxy = _start_proxy(stack, everything, service)
        token = login(everything, "viewer")
        jwks = json.dumps(httpx.get(f"{everything.gateway_url}/.well-known/jwks.json").json())
        headers = {"authorization": f"Bearer {token}"}
        ways = []
        for url in (service, everything.gateway_url, proxy):
            client = stack.enter_context(httpx.Client(base_url=url, headers=headers, timeout=30))
            client.get(_PATH, headers={"x-benchmark-jwks": jwks} if url == proxy else {}).raise_for_status()
            way = Way(client, [])
            for _ in range(_WARM_UP):
                way.ask()
            ways.append(way)
        yield ways[0], ways[1], ways[2]


def _start_proxy(stack: ExitStack, everything: LocalStack, service: str) -> str:
    port = free_port()
    command = Command([sys.executable, "-m", "benchmarks.proxy", str(port), service])
    process = ManagedProcess("proxy", command, everything.settings.local_dir)
    stack.callback(process.stop)
    process.start()
    if not poll_until(lambda: accepts_connections(port) or not process.is_running, 60):
        raise RuntimeError(f"the proxy did not start: {process.log_tail()}")
    return f"http://127.0.0.1:{port}"
