"""Ingest: messages on the topic until stored, classified, events in the outbox and offsets committed.

The limit copies the same rows into a temporary table and upserts them from there into the same table, batch by batch,
over one connection: no decoding, no classification, no events, no Kafka. Both write to the same server with the same
settings, in turn. The relay does not run: it has a benchmark of its own.
"""

import asyncio
from dataclasses import dataclass, replace
from itertools import cycle
from time import perf_counter
from typing import Any, Self
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from benchmarks.measure import Figures, Report, alternate
from benchmarks.servers import Servers
from deploy.demo.outgoing import from_load
from deploy.topics import apply
from services.signals.consumers import engine_signals
from services.signals.settings import SignalsSettings
from shared.app import settle_garbage_collector
from shared.db import create_engine, create_session_maker
from shared.events.topics import ENGINE_SIGNALS
from shared.kafka import Consumers
from tests.support.service import migrate, service_settings

SIGNALS = 100_000
_BATCH = 1000
EMPTY = "TRUNCATE signals, outbox, inbox, event_sequences, option_deltas, option_counts"


async def run(servers: Servers, rounds: int) -> list[Report]:
    """Measure on servers of their own: a first publication, one with other values, and one that changes nothing."""
    migrate("signals", servers.postgres.owner_url("signals"))
    connection = await asyncpg.connect(
        servers.postgres.admin_url, server_settings={"search_path": "signals"}, command_timeout=300
    )
    publication = await _Publication.make(servers, connection, seed=1)
    other = await _Publication.make(servers, connection, seed=2)

    async def first() -> float:
        await _empty(connection)
        return await publication.ingest()

    async def first_limit() -> float:
        await _empty(connection)
        return await publication.copy_and_upsert()

    rates, limits = await alternate(rounds, first, first_limit)
    # Each finds what the other publication left, and changes every row of it.
    turns = cycle((publication, other))
    next(turns)

    async def changed() -> float:
        await connection.execute("VACUUM signals")
        return await next(turns).ingest()

    async def changed_limit() -> float:
        await connection.execute("VACUUM signals")
        return await next(turns).copy_and_upsert()

    await first()
    changes, change_limits = await alternate(rounds, changed, changed_limit)
    await first()
    again = [await publication.ingest() for _ in range(rounds)]
    await connection.close()
    size = f"{SIGNALS:,} signals of {publication.size:,.0f} bytes; consumer's start included"
    return [
        Report(
            "ingest",
            Figures("ingest, first publication", "signals/s", rates),
            Figures("  COPY + upsert", "signals/s", limits),
            to_reach=0.6,
            notes=[size],
        ),
        Report(
            "ingest of changed values",
            Figures("ingest, published again, all changed", "signals/s", changes),
            Figures("  COPY + upsert", "signals/s", change_limits),
            to_reach=0.5,
        ),
        Report(
            "ingest of unchanged values",
            Figures("ingest, published again, unchanged", "signals/s", again),
            Figures("  the first publication", "signals/s", rates),
            to_reach=1.0,
        ),
    ]


@dataclass(frozen=True)
class _Publication:
    """All signals with one seed's values: on a topic of its own, and as the rows that ingest makes of them."""

    servers: Servers
    connection: asyncpg.Connection
    topic: str
    size: float
    rows: list[tuple[Any, ...]]
    columns: list[str]

    @classmethod
    async def make(cls, servers: Servers, connection: asyncpg.Connection, seed: int) -> Self:
        """Publish, and ingest once to know the rows."""
        topic = f"{ENGINE_SIGNALS.name}-{uuid4().hex[:8]}"
        size = await publish(servers, topic, seed)
        await _empty(connection)
        await _consume(servers, topic, connection)
        rows, columns = await stored_rows(connection)
        return cls(servers, connection, topic, size, rows, columns)

    async def ingest(self) -> float:
        """Signals per second, from the topic."""
        return SIGNALS / await _consume(self.servers, self.topic, self.connection)

    async def copy_and_upsert(self) -> float:
        """Signals per second, of ready rows."""
        started = perf_counter()
        await copy_rows(self.connection, self.rows, self.columns)
        return SIGNALS / (perf_counter() - started)


def _settings(servers: Servers) -> SignalsSettings:
    settings: SignalsSettings = service_settings(
        SignalsSettings, servers.postgres.service_url("signals"), servers.kafka.bootstrap_servers
    )
    return settings


async def _empty(connection: asyncpg.Connection) -> None:
    await connection.execute(EMPTY)
    await connection.execute("CHECKPOINT")


async def publish(servers: Servers, topic: str, seed: int, count: int = SIGNALS) -> float:
    """Put signals on a topic of their own; returns their mean size in bytes."""
    await apply(servers.kafka.bootstrap_servers, [replace(ENGINE_SIGNALS, name=topic)])
    total = 0
    producer = AIOKafkaProducer(
        bootstrap_servers=servers.kafka.bootstrap_servers, linger_ms=5, max_batch_size=256 * 1024
    )
    async with producer:
        for message in from_load(count, seed=seed, as_of=None).messages:
            total += len(message.value)
            await producer.send(topic, message.value, message.key.encode())
    return total / count


async def _consume(servers: Servers, topic: str, connection: asyncpg.Connection) -> float:
    """Seconds until a new group has committed everything."""
    settings = _settings(servers)
    ingest = engine_signals(settings)
    group = f"{ingest.group}-{uuid4().hex[:8]}"
    subscription = replace(ingest, topic=replace(ingest.topic, name=topic), group=group)
    engine = create_engine(settings, "signals")
    settle_garbage_collector()  # as every service does
    consumers = Consumers("signals", settings, [subscription], create_session_maker(engine))
    consumers.start()
    started = perf_counter()
    stored = "SELECT coalesce(sum(next_offset), 0) FROM inbox WHERE consumer_group = $1"
    # An observer from outside has nothing else to wait on.
    while await connection.fetchval(stored, subscription.group) < SIGNALS:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    while await _committed(servers, subscription.group) < SIGNALS:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    seconds = perf_counter() - started
    await consumers.stop()
    await engine.dispose()
    return seconds


async def _committed(servers: Servers, group: str) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka.bootstrap_servers)
    await admin.start()
    try:
        offsets: dict[TopicPartition, Any] = await admin.list_consumer_group_offsets(group)
        return sum(place.offset for place in offsets.values() if place.offset > 0)
    finally:
        await admin.close()


async def stored_rows(connection: asyncpg.Connection) -> tuple[list[tuple[Any, ...]], list[str]]:
    """What ours stored, as records for COPY, in the order of insertion."""
    columns = [
        row["column_name"]
        for row in await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'signals' "
            "AND table_name = 'signals' AND is_generated = 'NEVER' ORDER BY ordinal_position"
        )
    ]
    names = ", ".join(f'"{column}"' for column in columns)
    return [tuple(row) for row in await connection.fetch(f"SELECT {names} FROM signals ORDER BY ctid")], columns  # noqa: S608


async def copy_rows(connection: asyncpg.Connection, rows: list[tuple[Any, ...]], columns: list[str]) -> None:
    """Store ready rows: each batch copied into a temporary table and upserted from there, in one transaction."""
    names = ", ".join(f'"{column}"' for column in columns)
    updates = ", ".join(f'"{column}" = excluded."{column}"' for column in columns if column not in ("id", "created_at"))
    upsert = (
        f"INSERT INTO signals ({names}) SELECT {names} FROM incoming "  # noqa: S608 - names of columns
        "ON CONFLICT (canonical_node_id, metric_id, facility_id, entity_dimensions_hash, detected_at) "
        f"DO UPDATE SET {updates}"
    )
    await connection.execute(f"CREATE TEMPORARY TABLE incoming AS SELECT {names} FROM signals WITH NO DATA")  # noqa: S608
    for start in range(0, len(rows), _BATCH):
        async with connection.transaction():
            await connection.copy_records_to_table(
                "incoming", records=rows[start : start + _BATCH], columns=columns, schema_name="pg_temp"
            )
            await connection.execute(upsert)
            await connection.execute("TRUNCATE incoming")
    await connection.execute("DROP TABLE incoming")
