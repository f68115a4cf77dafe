"""Feed latency: from the engine's publish until a reader of the stream has the event; the whole way, all processes.

20 readers follow everything and 480 one signal each, at 200 signals a second; then 500 follow everything at 5 a second.
Readers connect to the service itself: the gateway, which has a benchmark of its own, would share the two cores.
"""

import asyncio
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import quantiles
from time import perf_counter
from uuid import uuid4

import msgspec
import psutil
from aiokafka import AIOKafkaProducer

from benchmarks.measure import Figures, Report
from deploy.local.stack import LocalStack
from shared.events.engine import dimensions_hash, entity_id, signal_id
from shared.events.topics import ENGINE_SIGNALS
from tests.e2e.tokens import login
from tests.support.factories import engine_signal
from tests.support.stack import free_settings, running, temporary_state_dir

SECONDS = 20
_P50_MS, _P99_MS, _MEMORY_MB = 50, 200, 250
_SIGNAL = re.compile(rb'"signal_id":"([0-9a-f-]{36})","user":')


@dataclass(frozen=True, slots=True)
class Load:
    """So many readers, and so many signals a second."""

    name: str
    readers_of_all: int
    readers_of_one: int
    per_second: int


LOADS = (Load("20 of all, 480 of one", 20, 480, 200), Load("500 of all", 500, 0, 5))


@dataclass(slots=True)
class Seen:
    """When each signal was published, and how long it took to each of its readers, in milliseconds."""

    published: dict[bytes, float] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)


class Reader(asyncio.Protocol):
    """One stream, read as cheaply as can be: it shares the machine with what it measures."""

    def __init__(self, path: str, token: str, seen: Seen) -> None:
        self._request = f"GET {path} HTTP/1.1\r\nhost: activity\r\nauthorization: Bearer {token}\r\n\r\n".encode()
        self._seen = seen
        self._rest = b""
        self.begun = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        self.transport = transport
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Note every event of which the last part has come."""
        now = perf_counter()
        *events, self._rest = (self._rest + data).split(b"\n\n")
        if not self.begun.done() and b"retry:" in data:
            self.begun.set_result(None)
        for event in events:
            if (found := _SIGNAL.search(event)) and (sent := self._seen.published.get(found[1])) is not None:
                self._seen.milliseconds.append((now - sent) * 1000)

    def connection_lost(self, exc: Exception | None) -> None:
        """A stream that ends before its time is no measurement."""
        if not self.begun.done():
            self.begun.set_exception(exc or ConnectionError("the stream was refused"))


async def run(rounds: int) -> list[Report]:
    """Measure on a stack of its own."""
    os.environ["COMPASS_STREAM_LIMIT_PER_USER"] = "1000"
    os.environ["COMPASS_LOG_LEVEL"] = "WARNING"
    with temporary_state_dir() as state_dir:
        stack = LocalStack(free_settings(state_dir))
        with running(stack):
            return [report for load in LOADS for report in await _measure(stack, load, rounds)]


async def _measure(stack: LocalStack, load: Load, rounds: int) -> list[Report]:
    results = [await _round(stack, load) for _ in range(rounds + 1)][1:]
    memory = _resident_mb(stack)
    note = f"{load.per_second} signals a second for {SECONDS} s, {rounds} rounds; {sum(map(len, results)):,} deliveries"

    def report(name: str, unit: str, values: list[float], limit: float) -> Report:
        figures = Figures(f"feed {name}, {load.name}", unit, values)
        return Report(figures.name, figures, Figures("  at most", unit, [limit]), 1.0, [note], less_is_better=True)

    return [
        report("p50", "ms", [_percentile(one, 50) for one in results], _P50_MS),
        report("p99", "ms", [_percentile(one, 99) for one in results], _P99_MS),
        report("memory", "MB", [memory], _MEMORY_MB),
    ]


def _percentile(values: Sequence[float], which: int) -> float:
    return quantiles(values, n=100)[which - 1]


async def _round(stack: LocalStack, load: Load) -> list[float]:
    """All readers connect, everything is published, all of it has to arrive."""
    run, seen = uuid4().hex[:8], Seen()
    signals = [
        engine_signal(canonical_node_id=f"node:{run}", facility=f"Facility {number}", facility_id=f"F{run}{number}")
        for number in range(load.per_second * SECONDS)
    ]
    ids = [
        signal_id(
            entity_id(one["canonical_node_id"], one["metric_id"], one["facility_id"], dimensions_hash(None)),
            msgspec.convert(one["detected_at"], type=datetime),
        )
        for one in signals
    ]
    token = await asyncio.to_thread(login, stack, "viewer")
    step = max(1, len(ids) // max(1, load.readers_of_one))
    paths = ["/api/feed/stream"] * load.readers_of_all
    paths += [f"/api/feed/stream?signal_id={ids[n * step % len(ids)]}" for n in range(load.readers_of_one)]
    loop = asyncio.get_running_loop()
    service = stack.service("activity")
    readers = [
        (await loop.create_connection(lambda path=path: Reader(path, token, seen), "127.0.0.1", service.port))[1]  # type: ignore[misc]
        for path in paths
    ]
    await asyncio.gather(*(reader.begun for reader in readers))
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka.bootstrap_servers) as producer:
        begun = perf_counter()
        for number, (signal, identity) in enumerate(zip(signals, ids, strict=True)):
            await asyncio.sleep(max(0.0, begun + number / load.per_second - perf_counter()))
            seen.published[str(identity).encode()] = perf_counter()
            await producer.send(ENGINE_SIGNALS.name, msgspec.json.encode(signal), signal["facility_id"].encode())
        await producer.flush()
    expected = len(signals) * load.readers_of_all + load.readers_of_one
    async with asyncio.timeout(60):
        while len(seen.milliseconds) < expected:  # noqa: ASYNC110 - an observer from outside has nothing to wait on
            await asyncio.sleep(0.05)
    for reader in readers:
        reader.transport.close()
    if len(seen.milliseconds) != expected:
        raise RuntimeError(f"{len(seen.milliseconds)} deliveries, {expected} expected")
    return seen.milliseconds


def _resident_mb(stack: LocalStack) -> float:
    resident: int = psutil.Process(stack.service("activity").process.pid).memory_info().rss
    return resident / 1024**2
