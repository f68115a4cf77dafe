"""Who stores a publication in the benchmark of ingest beside a peer: ours, the peer, and COPY with an upsert.

Each has its own way in and the same measure: the commits that PostgreSQL noted, from the first to the last.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
from aiokafka import AIOKafkaProducer

from benchmarks import processor, sink_rows
from benchmarks.connect import ConnectWorker
from benchmarks.ingest import EMPTY, copy_rows, publish, stored_rows
from benchmarks.measure import RoundError
from benchmarks.servers import Servers
from deploy.local.processes import Command, ManagedProcess, release_guard
from deploy.topics import apply
from shared.events.topics import ENGINE_SIGNALS
from tests.support.service import migrate
from tests.support.stack import temporary_state_dir

_PEER: Final = "compass_peer"
_SECONDS: Final = 240
# Two instances with three members each would have six batches for two cores; fewer is what an operator would set.
_MEMBERS: Final = {1: 3, 2: 2}
_COMMITS: Final = """
    SELECT pg_xact_commit_timestamp(xmin) AS at, count(*) AS rows FROM signals
    WHERE pg_xact_commit_timestamp(xmin) >= $1 GROUP BY xmin ORDER BY at
"""
_IS_STORED: Final = """
    SELECT NOT EXISTS (
        SELECT FROM unnest($1::uuid[], $2::bytea[]) AS last (id, content_hash)
        LEFT JOIN signals AS stored USING (id, content_hash) WHERE stored.id IS NULL
    )
"""


@dataclass(frozen=True)
class Publication:
    """All signals with one seed's values: the engine's messages, the peer's, and the rows that ingest makes of them.

    ``last`` are the ids and the digests of the rows that come last on the partitions of the peer's topic.
    """

    signals: int
    topic: str
    size: float
    peer_topic: str
    peer_size: float
    rows: list[tuple[Any, ...]]
    columns: list[str]
    last: list[tuple[UUID, bytes]]


@dataclass(frozen=True)
class Round:
    """What one side did: signals per second, and the processor seconds of each process, from its start to its end."""

    rate: float
    processor: dict[str, float]


class Sides:
    """Two databases on one server, `compass` for ours and one for the peer; and a worker for the peer's tasks."""

    def __init__(
        self,
        servers: Servers,
        worker: ConnectWorker,
        state_dir: Path,
        own: asyncpg.Connection,
        theirs: asyncpg.Connection,
    ) -> None:
        self._servers = servers
        self._worker = worker
        self._state_dir = state_dir
        self._own = own
        self._theirs = theirs

    async def publish(self, seed: int, signals: int) -> Publication:
        """Make the messages of both, and ingest them once to know the rows."""
        name = uuid4().hex[:8]
        topic, peer_topic = f"{ENGINE_SIGNALS.name}-{name}", f"rows-{name}"
        size = await publish(self._servers, topic, seed, signals)
        await self.empty()
        await self._ingest(topic, 2, signals)
        rows, columns = await stored_rows(self._own)
        last, peer_size = await self._publish_rows(peer_topic, [dict(zip(columns, row, strict=True)) for row in rows])
        return Publication(signals, topic, size, peer_topic, peer_size, rows, columns, last)

    async def empty(self) -> None:
        """Both databases as they were after the migrations."""
        for connection in (self._own, self._theirs):
            await connection.execute(EMPTY)
        await self._own.execute("CHECKPOINT")

    async def vacuum(self) -> None:
        """Both tables without dead rows; what former rounds told and counted is gone, as if sent and folded."""
        for connection in (self._own, self._theirs):
            await connection.execute("TRUNCATE outbox, inbox, option_deltas")
            await connection.execute("VACUUM signals")
        await self._own.execute("CHECKPOINT")

    async def ours(self, publication: Publication, instances: int) -> Round:
        """Ingest by so many processes of ours."""
        before, started = self._processor(), await self._now()
        own = await self._ingest(publication.topic, instances, publication.signals)
        used = {"ours": own, **_difference(before, self._processor())}
        if (events := await self._own.fetchval("SELECT count(*) FROM outbox")) != publication.signals:
            raise RoundError(f"{events} events for {publication.signals} signals")
        return Round(await _rate(self._own, publication, started), used)

    async def peer(self, publication: Publication, tasks: int) -> Round:
        """Upserts by so many tasks of the peer."""
        before, started = self._processor(), await self._now()
        worked = processor.seconds(self._worker.pid)
        name = f"sink-{uuid4().hex[:8]}"
        await self._worker.create(name, self._sink(publication.peer_topic, tasks))
        ids, digests = zip(*publication.last, strict=True)
        async with asyncio.timeout(_SECONDS):
            while not await self._theirs.fetchval(_IS_STORED, ids, digests):
                await self._worker.is_running(name)
                await asyncio.sleep(0.25)
        await self._worker.delete(name)
        used = {
            "Connect": processor.seconds(self._worker.pid) - worked,
            **_difference(before, self._processor()),
        }
        return Round(await _rate(self._theirs, publication, started), used)

    async def copy(self, publication: Publication) -> Round:
        """Upserts by one connection that has the rows ready, into the peer's table."""
        before, started = self._processor(), await self._now()
        await copy_rows(self._theirs, publication.rows, publication.columns)
        used = _difference(before, self._processor())
        return Round(await _rate(self._theirs, publication, started), used)

    def _processor(self) -> dict[str, float]:
        return {
            "PostgreSQL": processor.seconds(self._servers.postgres.process.pid),
            "Kafka": processor.seconds(self._servers.kafka.process.pid),
        }

    async def _now(self) -> datetime:
        now: datetime = await self._own.fetchval("SELECT clock_timestamp()")
        return now

    async def _ingest(self, topic: str, instances: int, signals: int) -> float:
        """Start processes of ours and end them when all is stored; returns their processor seconds."""
        group = f"ingest-{uuid4().hex[:8]}"
        environment = {
            **os.environ,
            "COMPASS_ENVIRONMENT": "local",
            "COMPASS_DATABASE_URL": self._servers.postgres.service_url("signals"),
            "COMPASS_KAFKA_BOOTSTRAP_SERVERS": self._servers.kafka.bootstrap_servers,
            "COMPASS_INGEST_MEMBERS": str(_MEMBERS[instances]),
        }
        command = Command([sys.executable, "-m", "benchmarks.ingest_instance", topic, group], environment)
        processes = [ManagedProcess(f"ingest-{number}", command, self._state_dir) for number in range(instances)]
        stored = "SELECT coalesce(sum(next_offset), 0) FROM inbox WHERE consumer_group = $1"
        try:
            for process in processes:
                process.start()
            async with asyncio.timeout(_SECONDS):
                while await self._own.fetchval(stored, group) < signals:
                    for process in processes:
                        if not process.is_running:
                            raise RoundError(f"{process.name} ended:\n{process.log_tail()}")
                    await asyncio.sleep(0.25)
            return sum(processor.seconds(process.pid) for process in processes)
        finally:
            for process in processes:
                process.stop()
            release_guard(self._state_dir)

    async def _publish_rows(self, topic: str, rows: list[dict[str, Any]]) -> tuple[list[tuple[UUID, bytes]], float]:
        """Put rows on a topic, on the partitions of their signals; returns the last of each and the mean size."""
        await apply(self._servers.kafka.bootstrap_servers, [replace(ENGINE_SIGNALS, name=topic)])
        last: dict[int, tuple[int, UUID, bytes]] = {}
        total = 0
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers.kafka.bootstrap_servers, linger_ms=5, max_batch_size=256 * 1024
        )
        async with producer:
            sent = []
            for row in rows:
                message = sink_rows.message(row)
                total += len(message)
                sent.append(await producer.send(topic, message, row["facility_id"].encode()))
            for row, place in zip(rows, await asyncio.gather(*sent), strict=True):
                found = (place.offset, row[sink_rows.KEY], row["content_hash"])
                last[place.partition] = max(found, last.get(place.partition, found))
        return [(name, digest) for _, name, digest in last.values()], total / len(rows)

    def _sink(self, topic: str, tasks: int) -> Mapping[str, str]:
        server = urlsplit(self._servers.postgres.service_url("signals", _PEER))
        return {
            "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
            "topics": topic,
            "tasks.max": str(tasks),
            "connection.url": f"jdbc:postgresql://{server.hostname}:{server.port}{server.path}?currentSchema=signals",
            "connection.username": str(server.username),
            "connection.password": str(server.password),
            "insert.mode": "upsert",
            "primary.key.mode": "record_value",
            "primary.key.fields": sink_rows.KEY,
            "collection.name.format": "signals.signals",
            "dialect.postgres.unnest.insert.enabled": "true",
            "use.reduction.buffer": "true",
            "batch.size": "1000",
            "consumer.override.max.poll.records": "1000",
            "consumer.override.max.partition.fetch.bytes": str(16 * 1024 * 1024),
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter.schemas.enable": "true",
            "value.converter.schema.content": sink_rows.schema(),
        }


@asynccontextmanager
async def opened(servers: Servers, worker: ConnectWorker, *, bare: bool) -> AsyncIterator[Sides]:
    """Migrate both databases and wait for the worker; the peer's table has no triggers where it is to be bare."""
    servers.postgres.create_database(_PEER)
    migrate("signals", servers.postgres.owner_url("signals"))
    migrate("signals", servers.postgres.owner_url("signals", _PEER))
    schema = {"search_path": "signals"}
    administrator = servers.postgres.admin_url
    own = await asyncpg.connect(administrator, server_settings=schema, command_timeout=300)
    theirs = await asyncpg.connect(administrator, database=_PEER, server_settings=schema, command_timeout=300)
    for statement in (*(_NO_TRIGGERS if bare else ()), *sink_rows.casts()):
        await theirs.execute(statement)
    await worker.ready()
    with temporary_state_dir() as state_dir:
        yield Sides(servers, worker, state_dir, own, theirs)
    await own.close()
    await theirs.close()
    await worker.close()


_NO_TRIGGERS: Final = [
    f"DROP TRIGGER option_deltas_{statement} ON signals" for statement in ("insert", "update", "delete")
]


def _difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: after[name] - before[name] for name in before}


async def _rate(connection: asyncpg.Connection, publication: Publication, started: datetime) -> float:
    """Rows per second after the first commit.

    Raises:
        RoundError: where not every row has been written since, or all of them at once.
    """
    commits = await connection.fetch(_COMMITS, started)
    rows = sum(commit["rows"] for commit in commits)
    if rows != publication.signals:
        raise RoundError(f"{rows} rows were written of {publication.signals}")
    seconds: float = (commits[-1]["at"] - commits[0]["at"]).total_seconds()
    return float((rows - commits[0]["rows"]) / seconds)
