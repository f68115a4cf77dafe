"""What operators see of a service's state without asking it: what waits in its tables, what works and what does not.

Each instance looks by itself and tells the same of the tables, whichever of them relays or consumes: so an outbox that
nobody empties is told of, too. Where the database is away the last figures stay, and `compass_database_up` says so.
"""

from typing import Any, Final, NoReturn

from fastapi import FastAPI
from prometheus_client import Gauge
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from shared.db import SessionMaker
from shared.events.decoding import CODES
from shared.events.topics import ALL
from shared.supervision import look_again
from shared.telemetry import (
    CONSUMED,
    CONSUMER_RESTARTS,
    CONSUMER_RETRIES,
    CONSUMER_REWOUND,
    REDELIVERED,
    REJECTED,
    RELAYED,
    WORKER_RESTARTS,
)

OUTBOX_MESSAGES: Final = Gauge(
    "compass_outbox_messages", "Messages that wait for the relay; counted as far as 100,000."
)
OUTBOX_AGE: Final = Gauge("compass_outbox_oldest_seconds", "Age of the oldest message that waits for the relay.")
DEAD_LETTERS: Final = Gauge(
    "compass_dead_letters", "Dead letters that have not been replayed; counted as far as 10,000.", ("group",)
)
LAST_MESSAGE: Final = Gauge(
    "compass_last_message_timestamp_seconds",
    "When Kafka took the last message whose effects are stored.",
    ("group", "topic"),
)
DATABASE_UP: Final = Gauge("compass_database_up", "1 where the last look at the database succeeded.")
CONSUMER_UP: Final = Gauge("compass_consumer_up", "1 where a group consumes, or has nothing to consume.", ("group",))
WORKER_UP: Final = Gauge(
    "compass_worker_up", "1 where a background worker works; 0 while it waits to begin again.", ("worker",)
)
KEYS_KNOWN: Final = Gauge("compass_keys_known", "1 where a key to verify tokens with is known.")
CONNECTIONS: Final = Gauge("compass_database_connections", "Connections of a pool that are in use.", ("pool",))
MOST_CONNECTIONS: Final = Gauge("compass_database_connections_max", "Connections that a pool may have.", ("pool",))

_LOOK_SECONDS: Final = 10.0

# An outbox that has waited for a day would take seconds to count, and to know that it is large is enough.
_OUTBOX = text(
    """
    SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT 100000) AS waiting) AS messages,
           (SELECT extract(epoch FROM clock_timestamp() - created_at) FROM outbox ORDER BY id LIMIT 1) AS age
    """
)
_DEAD_LETTERS = text(
    """
    SELECT consumer_group, count(*) AS letters
    FROM (SELECT consumer_group FROM dead_letters WHERE replayed_at IS NULL LIMIT 10000) AS waiting
    GROUP BY consumer_group
    """
)
_LAST_MESSAGES = text(
    "SELECT consumer_group, topic, max(last_timestamp) AS milliseconds FROM inbox GROUP BY consumer_group, topic"
)


async def observe(app: FastAPI, engine: AsyncEngine) -> NoReturn:
    """Keep the metrics true; runs as long as the service."""
    watch_pools(engine, app.state.reading_pool, app.state.settings.database_pool_size)
    begin_counting(app)
    consumes = bool(app.state.consumers.consumers)

    async def look() -> bool:
        measure_process(app)
        await measure_tables(app.state.session_maker, consumes=consumes)
        return False

    await look_again("metrics", look, _LOOK_SECONDS)


def begin_counting(app: FastAPI) -> None:
    """Let what may be counted be there as 0: Prometheus sees no increase in a counter that begins with its first 1."""
    for consumer in app.state.consumers.consumers:
        group, topic = consumer.group, consumer.subscription.topic.name
        for by_group in (CONSUMER_RETRIES, CONSUMER_RESTARTS):
            by_group.labels(group)
        for by_topic in (CONSUMED, REDELIVERED, CONSUMER_REWOUND):
            by_topic.labels(group, topic)
        for code in CODES:
            REJECTED.labels(group, topic, code)
    for published in ALL:
        if published.producer == app.state.name:
            RELAYED.labels(published.name)
    for work in (*app.state.background, *app.state.consumers.supervised):
        WORKER_RESTARTS.labels(work.name)


def watch_pools(engine: AsyncEngine, reading: Any, size: int) -> None:
    """Let the metrics of connections be read from the pools whenever they are asked for."""
    CONNECTIONS.labels("sessions").set_function(lambda: engine.pool.checkedout())  # type: ignore[attr-defined]
    CONNECTIONS.labels("reading").set_function(lambda: reading.get_size() - reading.get_idle_size())
    for pool in ("sessions", "reading"):
        MOST_CONNECTIONS.labels(pool).set(size)


def measure_process(app: FastAPI) -> None:
    """Set the metrics of what this process does."""
    unhealthy = set(app.state.consumers.unhealthy)
    for group in {consumer.group for consumer in app.state.consumers.consumers}:
        CONSUMER_UP.labels(group).set(group not in unhealthy)
    for work in app.state.background:
        WORKER_UP.labels(work.name).set(not work.is_down)
    KEYS_KNOWN.set(app.state.access.ready)


async def measure_tables(session_maker: SessionMaker, *, consumes: bool) -> None:
    """Set the metrics of the service's tables; of inbox and dead letters only where the service ``consumes``.

    Raises:
        SQLAlchemyError, OSError: where the database could not be asked, which its metric tells from then on.
    """
    try:
        async with session_maker() as session:
            await _measure_outbox(session)
            if consumes:
                await _measure_inbox(session)
    except (SQLAlchemyError, OSError):
        DATABASE_UP.set(0)
        raise
    DATABASE_UP.set(1)


async def _measure_outbox(session: AsyncSession) -> None:
    row = (await session.execute(_OUTBOX)).one()
    OUTBOX_MESSAGES.set(row.messages)
    OUTBOX_AGE.set(max(0.0, float(row.age or 0)))


async def _measure_inbox(session: AsyncSession) -> None:
    # A group whose dead letters have all been replayed is not in the answer.
    letters = {row.consumer_group: row.letters for row in await session.execute(_DEAD_LETTERS)}
    for row in await session.execute(_LAST_MESSAGES):
        LAST_MESSAGE.labels(row.consumer_group, row.topic).set(row.milliseconds / 1000)
        letters.setdefault(row.consumer_group, 0)
    for group, count in letters.items():
        DEAD_LETTERS.labels(group).set(count)
