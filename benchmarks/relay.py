"""The relay: outbox rows until Kafka has acknowledged and the row is gone; against producing from memory.

The limit sends the same bytes with the same keys with aiokafka's `send`: linger 5 ms, acks=all, idempotence. It reads
no database, deletes nothing and gives no guarantee across a crash.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from time import perf_counter
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaProducer

from benchmarks.measure import Figures, Report, alternate
from benchmarks.servers import Servers
from deploy.topics import apply
from shared.events.topics import COMPASS_SIGNALS
from shared.relay import Relay
from shared.settings import ServiceSettings

MESSAGES = 60_000
_SCHEMA = "relay_benchmark"
VALUE = b'{"specversion":"1.0","filler":"' + b"x" * 1300 + b'"}'


async def run(servers: Servers, rounds: int) -> list[Report]:
    """Measure on servers of their own."""
    messages = [(str(uuid4()).encode(), VALUE + b"%07d" % number) for number in range(MESSAGES)]
    connection = await asyncpg.connect(servers.postgres.admin_url)
    await connection.execute(f"DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE; CREATE SCHEMA {_SCHEMA}")
    await connection.execute(f"SET search_path = {_SCHEMA}")
    await connection.execute(TABLE)
    topic = f"relay-{uuid4().hex[:8]}"
    await apply(servers.kafka.bootstrap_servers, [replace(COMPASS_SIGNALS, name=topic)])

    async def ours() -> float:
        rows = [(topic, key, value) for key, value in messages]
        await connection.copy_records_to_table("outbox", records=rows, columns=("topic", "key", "value"))
        await connection.execute("VACUUM ANALYZE outbox")
        settings = ServiceSettings(
            environment="local",
            database_url=servers.postgres.admin_url,
            kafka_bootstrap_servers=servers.kafka.bootstrap_servers,
        )
        relay = asyncio.create_task(Relay(settings, _SCHEMA).run())
        started = perf_counter()
        # Looking is how an outside observer knows; the relay has nothing to wait on.
        while await connection.fetchval("SELECT EXISTS (SELECT FROM outbox)"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        seconds = perf_counter() - started
        relay.cancel()
        with suppress(asyncio.CancelledError):
            await relay
        return MESSAGES / seconds

    async def limit() -> float:
        producer = AIOKafkaProducer(
            bootstrap_servers=servers.kafka.bootstrap_servers,
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            max_batch_size=256 * 1024,
        )
        async with producer:
            started = perf_counter()
            futures = [await producer.send(topic, value, key) for key, value in messages]
            await asyncio.gather(*futures)
            return MESSAGES / (perf_counter() - started)

    mine, theirs = await alternate(rounds, ours, limit)
    await connection.execute(f"DROP SCHEMA {_SCHEMA} CASCADE")
    await connection.close()
    return [
        Report(
            "relay",
            Figures("relay", "messages/s", mine),
            Figures("  limit: send from memory", "messages/s", theirs),
            to_reach=0.5,
            notes=[f"{MESSAGES:,} messages of {len(VALUE) + 7:,} bytes, relay's start included"],
        )
    ]


TABLE = """
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic varchar(249) NOT NULL, key bytea, value bytea,
    headers jsonb, created_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
