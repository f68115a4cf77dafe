"""The relay beside a peer: Debezium's PostgreSQL connector with its outbox event router, on Kafka Connect.

Who does what. Ours selects the outbox's rows in the order of their ids, sends them, and deletes those that Kafka has
acknowledged. The peer never asks the table: PostgreSQL decodes the rows from its log (`pgoutput`, a slot, a
publication of the four columns that make a message), the connector makes a change event of each, the router a message
of that, and the worker's producer sends it. It deletes nothing: the rows have to go by somebody else's hand, which is
not measured. Both give every message at least once, and in order.

At its best. The bytes go through as they are (ByteArrayConverter), the producer has batches as ours and five requests
on their way instead of Connect's one, the connector larger queues than its own and a poll of 10 ms. The worker stays
up, warmed by a round that is not counted.

When. The rows are there before anybody starts, committed a thousand at a time, as ingest does. Kafka keeps the time
of each append: what counts is the messages after the first append over the time from the first to the last. So
start-up, our lock and the slot's first look are nobody's. After each round the topic is read: every message has to be
there once, and on every partition in the order of the outbox, or the round fails. The server has `wal_level=logical`,
for both.

What limits them is told by the processor seconds of each round. Ours is Python on one core, which reads, sends and
deletes rows. The peer's seconds are Connect's: each row is read from the log into a structure by one thread, and
taken apart, routed and sent by another; PostgreSQL has little to do for either.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from statistics import median
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks import processor
from benchmarks.connect import ConnectWorker, connect_worker
from benchmarks.measure import Figures, Report, RoundError, alternate
from benchmarks.relay import MESSAGES, TABLE, VALUE
from benchmarks.servers import Servers, servers
from deploy.topics import apply
from shared.events.topics import COMPASS_SIGNALS
from shared.relay import Relay
from shared.settings import ServiceSettings

_SCHEMA: Final = "relay_peer"
_ROWS_OF_A_TRANSACTION: Final = 1000
_MESSAGES_OF_A_KEY: Final = 10
_SECONDS: Final = 240
_PARTITIONS: Final = COMPASS_SIGNALS.partitions


async def run(rounds: int, messages: int | None) -> list[Report]:
    """Measure on servers of its own."""
    count = messages or MESSAGES
    with (
        servers(postgres_settings={"wal_level": "logical"}) as pair,
        connect_worker(pair.kafka.bootstrap_servers) as worker,
    ):
        connection = await asyncpg.connect(pair.postgres.admin_url, server_settings={"search_path": _SCHEMA})
        await connection.execute(f"CREATE SCHEMA {_SCHEMA}")
        await connection.execute(TABLE)
        await connection.execute("CREATE PUBLICATION outbox FOR TABLE outbox (id, topic, key, value)")
        await worker.ready()
        mine, theirs = _Processor(pair, os.getpid()), _Processor(pair, worker.pid)
        ours, peers = await alternate(
            rounds,
            lambda: _ours(pair, connection, count, mine),
            lambda: _peer(pair, connection, worker, count, theirs),
        )
        await connection.close()
        await worker.close()
    return [
        Report(
            "relay beside a peer",
            Figures("relay", "messages/s", ours),
            Figures("  Debezium, outbox event router", "messages/s", peers),
            to_reach=1.0,
            notes=[
                f"{count:,} messages of {len(VALUE) + 7:,} bytes, {_MESSAGES_OF_A_KEY} of each key; order checked",
                f"processor seconds: ours {mine}; Connect {theirs}",
            ],
        )
    ]


class _Processor:
    """The processor seconds of a side's rounds: its own process, PostgreSQL, Kafka."""

    def __init__(self, pair: Servers, pid: int) -> None:
        self._pids = (pid, pair.postgres.process.pid, pair.kafka.process.pid)
        self._rounds: list[list[float]] = []

    def __str__(self) -> str:
        own, postgres, kafka = (median(used) for used in zip(*self._rounds, strict=True))
        return f"{own:.1f}, PostgreSQL {postgres:.1f}, Kafka {kafka:.1f}"

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Count what is used inside."""
        before = [processor.seconds(pid) for pid in self._pids]
        yield
        self._rounds.append([processor.seconds(pid) - used for pid, used in zip(self._pids, before, strict=True)])


async def _ours(pair: Servers, connection: asyncpg.Connection, count: int, used: _Processor) -> float:
    topic = await _fill(pair, connection, count)
    settings = ServiceSettings(
        environment="local",
        database_url=pair.postgres.admin_url,
        kafka_bootstrap_servers=pair.kafka.bootstrap_servers,
    )
    with used.measured():
        relay = asyncio.create_task(Relay(settings, _SCHEMA).run())
        async with asyncio.timeout(_SECONDS):
            # Looking is how an outside observer knows; the relay has nothing to wait on.
            while await connection.fetchval("SELECT EXISTS (SELECT FROM outbox)"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        relay.cancel()
        with suppress(asyncio.CancelledError):
            await relay
    return await _rate(pair, topic, count)


async def _peer(
    pair: Servers, connection: asyncpg.Connection, worker: ConnectWorker, count: int, used: _Processor
) -> float:
    name = f"outbox_{uuid4().hex[:8]}"
    await connection.execute("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", name)
    topic = await _fill(pair, connection, count)
    with used.measured():
        await worker.create(name, _router(pair, name))
        async with (
            AIOKafkaConsumer(bootstrap_servers=pair.kafka.bootstrap_servers) as consumer,
            asyncio.timeout(_SECONDS),
        ):
            while sum((await consumer.end_offsets(_places(topic))).values()) < count:
                await worker.is_running(name)
                await asyncio.sleep(0.1)
        await worker.delete(name)
    async with asyncio.timeout(_SECONDS):
        # The walsender ends after its client.
        while not await connection.fetchval(_DROP_IDLE_SLOT, name):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await connection.execute("TRUNCATE outbox")
    return await _rate(pair, topic, count)


async def _fill(pair: Servers, connection: asyncpg.Connection, count: int) -> str:
    """Put messages for a topic of their own into the outbox; returns the topic."""
    topic = f"{_SCHEMA}-{uuid4().hex[:8]}"
    await apply(pair.kafka.bootstrap_servers, [replace(COMPASS_SIGNALS, name=topic)])
    keys = [str(uuid4()).encode() for _ in range(-(-count // _MESSAGES_OF_A_KEY))]
    rows = [(topic, keys[number % len(keys)], VALUE + b"%07d" % number) for number in range(count)]
    for start in range(0, count, _ROWS_OF_A_TRANSACTION):
        await connection.copy_records_to_table(
            "outbox", records=rows[start : start + _ROWS_OF_A_TRANSACTION], columns=("topic", "key", "value")
        )
    await connection.execute("VACUUM ANALYZE outbox")
    await connection.execute("CHECKPOINT")
    return topic


async def _rate(pair: Servers, topic: str, count: int) -> float:
    """Messages per second after the first append, by Kafka's clock.

    Raises:
        RoundError: where the topic does not hold every message once, or a partition not in the outbox's order.
    """
    appended: list[int] = []
    last: dict[int, int] = {}
    async with AIOKafkaConsumer(
        bootstrap_servers=pair.kafka.bootstrap_servers, auto_offset_reset="earliest", enable_auto_commit=False
    ) as consumer:
        places = _places(topic)
        held = sum((await consumer.end_offsets(places)).values())
        if held != count:
            raise RoundError(f"{topic} holds {held} messages instead of {count}")
        consumer.assign(places)
        while len(appended) < count:
            for batch in (await consumer.getmany(timeout_ms=10_000)).values():
                for message in batch:
                    number = int((message.value or b"")[-7:])
                    if number <= last.get(message.partition, -1):
                        raise RoundError(f"{number} follows {last[message.partition]} on {topic}")
                    last[message.partition] = number
                    appended.append(message.timestamp)
    first = min(appended)
    return (count - appended.count(first)) * 1000 / (max(appended) - first)


def _places(topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for partition in range(_PARTITIONS)]


def _router(pair: Servers, slot: str) -> dict[str, str]:
    server = urlsplit(pair.postgres.admin_url)
    as_they_are = "org.apache.kafka.connect.converters.ByteArrayConverter"
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        "database.hostname": str(server.hostname),
        "database.port": str(server.port),
        "database.user": str(server.username),
        "database.password": str(server.password),
        "database.dbname": server.path[1:],
        "topic.prefix": slot,
        "plugin.name": "pgoutput",
        "slot.name": slot,
        "publication.name": "outbox",
        "publication.autocreate.mode": "disabled",
        "table.include.list": f"{_SCHEMA}.outbox",
        # The slot is older than the rows: all of them come from the log.
        "snapshot.mode": "no_data",
        "max.batch.size": "8192",
        "max.queue.size": "32768",
        "poll.interval.ms": "10",
        "key.converter": as_they_are,
        "value.converter": as_they_are,
        "transforms": "outbox",
        "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
        "transforms.outbox.table.field.event.key": "key",
        "transforms.outbox.table.field.event.payload": "value",
        "transforms.outbox.route.by.field": "topic",
        "transforms.outbox.route.topic.replacement": "${routedByValue}",
        "producer.override.linger.ms": "5",
        "producer.override.batch.size": str(256 * 1024),
        "producer.override.buffer.memory": str(64 * 1024 * 1024),
        "producer.override.max.in.flight.requests.per.connection": "5",
    }


_DROP_IDLE_SLOT: Final = """
    SELECT count(pg_drop_replication_slot(slot_name)) = 1 FROM pg_replication_slots WHERE slot_name = $1 AND NOT active
"""
