"""What the gateway adds to a request with a token; beside an Envoy that checks nothing, and a proxy in Python.

One connection, one request after the other, so that what is measured is the way and not the queue. The service
answers its smallest read (`GET /api/metrics` without metrics). Each round asks straight and each of the other ways in
turn, request by request: a machine that gets slower slows all of them. What the Envoy that only forwards adds is the
price of another process on the way, on this machine; no configuration of the gateway is below it.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import httpx
import pytest

from benchmarks.load import Connection
from benchmarks.measure import Figures, Report
from deploy.local.envoy import EmbeddedEnvoy
from deploy.local.ports import accepts_connections, free_port
from deploy.local.processes import Command, ManagedProcess, poll_until, release_guard
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
    added, forwarding, python = ([took[way] - took[0] for took in counted] for way in range(1, len(ways)))
    straight_figures = ", ".join(f"{took[0]:.2f}" for took in counted)
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
            "gateway beside one that only forwards",
            Figures("gateway: added at p50", "ms", added),
            Figures("  an Envoy without checks, limits and log", "ms", forwarding),
            to_reach=1.5,
            less_is_better=True,
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
    """Addresses of the service, the gateway, an Envoy that only forwards, and the proxy; headers of a reader."""
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
        forwarder = stack.enter_context(_forwarder(everything))
        yield (service, everything.gateway_url, forwarder, proxy), headers


class _Forwarder(EmbeddedEnvoy):
    """The gateway without all that it is for."""

    def configuration(self) -> dict[str, Any]:
        """Routes, clusters and nothing else."""
        configuration = super().configuration()
        (chain,) = configuration["static_resources"]["listeners"][0]["filter_chains"]
        connections = chain["filters"][0]["typed_config"]
        for unneeded in ("access_log", "local_reply_config"):
            del connections[unneeded]
        connections["http_filters"] = connections["http_filters"][-1:]  # the router
        (hosts,) = connections["route_config"]["virtual_hosts"]
        for place in (hosts, *hosts["routes"]):
            place.pop("typed_per_filter_config", None)
        return configuration


@contextmanager
def _forwarder(everything: LocalStack) -> Iterator[str]:
    """The address of an Envoy beside the stack's own."""
    folder = everything.settings.local_dir / "forwarder"
    envoy = _Forwarder(everything.settings.model_copy(update={"local_dir": folder, "gateway_port": free_port()}))
    try:
        envoy.start()
        yield envoy.url
    finally:
        envoy.stop()
        release_guard(folder)


def _start_proxy(stack: ExitStack, everything: LocalStack, service: str) -> str:
    port = free_port()
    command = Command([sys.executable, "-m", "benchmarks.proxy", str(port), service])
    process = ManagedProcess("proxy", command, everything.settings.local_dir)
    stack.callback(process.stop)
    process.start()
    if not poll_until(lambda: accepts_connections(port) or not process.is_running, 60):
        raise RuntimeError(f"the proxy did not start: {process.log_tail()}")
    return f"http://127.0.0.1:{port}"
