"""What processes, tables and queues of a stack take at one moment."""

import asyncio
from contextlib import suppress
from typing import Final

import asyncpg
import httpx
import msgspec
import psutil
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.api_load.notes import Requests, percentile
from benchmarks.processes import SERVER, Processes
from deploy.local.stack import LocalStack

_MIB: Final = 2**20
_STREAMING: Final = "activity"

_CONNECTIONS: Final = """
    SELECT coalesce(replace(usename, 'compass_', ''), backend_type) AS whose, count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND usename LIKE 'compass_%' GROUP BY 1
"""
_TABLES: Final = """
    SELECT schemaname || '.' || relname AS name, pg_total_relation_size(relid) AS bytes, n_live_tup AS live,
        n_dead_tup AS dead
    FROM pg_stat_user_tables WHERE schemaname = ANY($1)
"""


class Sample(msgspec.Struct, frozen=True):
    """One moment, `seconds` after the load began. What is told by process is told of all that are of one kind."""

    seconds: float
    memory_mib: dict[str, float]
    """Resident; of PostgreSQL without what its processes share."""
    handles: dict[str, float]
    connections: dict[str, float]
    """To PostgreSQL, by service."""
    table_mib: dict[str, float]
    """With indexes."""
    dead_share: dict[str, float]
    """Of the rows of each table those that nobody can see any more."""
    outbox_oldest_seconds: dict[str, float]
    lag: dict[str, float]
    """Messages that wait, by consumer group."""
    restarts: dict[str, float]
    """Of workers and consumers, since their service began."""
    dead_letters: dict[str, float]
    """That wait, by consumer group."""
    readers: float
    """Open streams, as the service counts them."""
    requests_per_second: float
    p50: float
    p99: float
    """Milliseconds; NaN, and null where it is stored, if there was no answer."""
    failures: dict[str, int]
    """Since the sample before, as the three above."""
    stream_troubles: dict[str, int]
    gaps: int
    delivered: int


class Sampler:
    """Looks at a stack that somebody has at work."""

    def __init__(self, stack: LocalStack, connection: asyncpg.Connection, processes: Processes) -> None:
        self._stack = stack
        self._connection = connection
        self._processes = processes
        # A service closes what has been idle for as long as a sample is apart from the next: each asks by a new one.
        self._client = httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_keepalive_connections=0))

    async def sample(self, seconds: float, asked: Requests) -> Sample:
        """All of it now; `asked` is what the leaders did since the sample before."""
        memory, handles = await asyncio.to_thread(self._taken)
        told = await self._told()
        tables = await self._connection.fetch(_TABLES, list(self._stack.services))
        return Sample(
            seconds=seconds,
            memory_mib=memory,
            handles=handles,
            connections={row["whose"]: row["count"] for row in await self._connection.fetch(_CONNECTIONS)},
            table_mib={row["name"]: row["bytes"] / _MIB for row in tables},
            dead_share={row["name"]: row["dead"] / max(1, row["live"] + row["dead"]) for row in tables},
            outbox_oldest_seconds=told.outbox_oldest_seconds,
            lag=told.lag,
            restarts=told.restarts,
            dead_letters=told.dead_letters,
            readers=told.readers,
            requests_per_second=asked.per_second,
            p50=percentile(asked.all_milliseconds, 50),
            p99=asked.p99,
            failures=asked.failures,
            stream_troubles=asked.stream_troubles,
            gaps=asked.gaps,
            delivered=asked.delivered,
        )

    async def close(self) -> None:
        """Look no more."""
        await self._client.aclose()

    def _taken(self) -> tuple[dict[str, float], dict[str, float]]:
        memory: dict[str, float] = {}
        handles: dict[str, float] = {}
        for name, process in self._processes.each():
            with suppress(psutil.NoSuchProcess):
                taken = process.memory_info()
                if name.startswith(SERVER):
                    # Each of its processes has touched the same buffers.
                    memory["postgres"] = memory.get("postgres", 0.0) + (taken.rss - taken.shared) / _MIB
                else:
                    memory[name] = taken.rss / _MIB
                    handles[name] = process.num_fds()
        return memory, handles

    async def _told(self) -> "Told":
        told = Told()
        for name, service in self._stack.services.items():
            told.take(name, (await self._client.get(f"{service.url}/metrics")).raise_for_status().text)
        return told


class Told:
    """What the services tell of themselves. A metric that a service has no more is a KeyError: 0 would be a lie."""

    def __init__(self) -> None:
        self.outbox_oldest_seconds: dict[str, float] = {}
        self.lag: dict[str, float] = {}
        self.restarts: dict[str, float] = {}
        self.dead_letters: dict[str, float] = {}
        self.readers = 0.0

    def take(self, service: str, text: str) -> None:
        """Add what one of them says, in Prometheus' format."""
        found = {
            family.name: [(sample.labels, sample.value) for sample in family.samples]
            for family in text_string_to_metric_families(text)
        }
        self.outbox_oldest_seconds[service] = sum(value for _, value in found["compass_outbox_oldest_seconds"])
        for labels, value in found["compass_consumer_lag"]:
            _add(self.lag, labels["group"], value)
        for labels, value in found["compass_dead_letters"]:
            _add(self.dead_letters, labels["group"], value)
        # A counter's family has no `_total` at its end.
        for labels, value in found["compass_worker_restarts"]:
            _add(self.restarts, f"{labels['worker']} of {service}", value)
        for labels, value in found["compass_consumer_restarts"]:
            _add(self.restarts, f"consumer {labels['group']}", value)
        if service == _STREAMING:
            self.readers = sum(value for _, value in found["compass_activity_stream_readers"])


def _add(to: dict[str, float], name: str, value: float) -> None:
    to[name] = to.get(name, 0.0) + value
