"""From the outbox to Kafka: in order, each message at least once, none lost however long Kafka is away."""

import asyncio
from dataclasses import dataclass
from typing import Final

import asyncpg
import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.events.topics import MAX_MESSAGE_BYTES
from shared.outbox import decode_headers
from shared.settings import ServiceSettings
from shared.supervision import happens
from shared.telemetry import RELAY_ACTIVE, RELAY_FAILURES, RELAYED
from shared.tracing_messages import Sending

logger = structlog.get_logger(__name__)

_POLL_SECONDS: Final = 1.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_ROUNDS_FROM_THE_FRONT: Final = 20
_EVENT_HEADERS: Final[list[tuple[str, bytes | None]]] = [("content-type", b"application/cloudevents+json")]

_SELECT: Final = """
    SELECT id, topic, key, value, headers
    FROM outbox WHERE id > $1 ORDER BY id LIMIT $2
"""
_DELETE: Final = "DELETE FROM outbox WHERE id = ANY($1::bigint[])"
# The lock's first half says what it is for, the second whose schema it guards: services share a database.
_TRY_LOCK: Final = "SELECT pg_try_advisory_lock(hashtext('compass.outbox'), hashtext(current_schema()))"


class RelayLostError(Exception):
    """Kafka did not acknowledge a message in time; it stays in the outbox."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """The rows of one look, on their way: acknowledged, or not, when the futures say so."""

    ids: list[int]
    futures: list[asyncio.Future[object]]
    topics: list[str]
    spans: Sending | None


class Relay:
    """Takes one service's outbox to Kafka. Of several processes one is active, by a lock in the database.

    The lock lives on the very connection that selects and deletes: whoever loses the one has lost the other, so that
    two relays never send side by side for longer than it takes to notice, and order per key holds.
    """

    def __init__(self, settings: ServiceSettings, schema: str) -> None:
        self._settings = settings
        self._schema = schema
        self._wake = asyncio.Event()
        self._pause = _FIRST_PAUSE_SECONDS

    async def run(self) -> None:
        """Relay until cancelled."""
        while True:
            try:
                await self._relay_while_connected()
            except Exception as error:  # noqa: BLE001 - a relay that ends leaves a service that tells nobody anything
                RELAY_FAILURES.inc()
                logger.warning("relay interrupted, trying again", pause_seconds=self._pause, error=repr(error))
                await asyncio.sleep(self._pause)
                self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)
            finally:
                RELAY_ACTIVE.set(0)

    async def _relay_while_connected(self) -> None:
        connection = await asyncpg.connect(
            str(self._settings.database_url),
            timeout=5,
            command_timeout=30,
            server_settings={"search_path": self._schema, "application_name": f"compass-{self._schema}-relay"},
        )
        try:
            await connection.add_listener(f"outbox_{self._schema}", self._on_notify)
            # An advisory lock tells nobody when it is released: ask again, rather than block a query for ever.
            while not await connection.fetchval(_TRY_LOCK):  # noqa: ASYNC110
                await asyncio.sleep(_POLL_SECONDS)
            # A producer made anew each time: one with idempotence can stay dead after a failure (aiokafka#1017).
            producer = AIOKafkaProducer(
                bootstrap_servers=self._settings.kafka_bootstrap_servers,
                client_id=f"compass-{self._schema}-relay",
                acks="all",
                enable_idempotence=True,
                # A look at the outbox is sent as a whole: waiting for more would only make it later.
                linger_ms=0,
                max_batch_size=256 * 1024,
                max_request_size=8 * MAX_MESSAGE_BYTES,
                request_timeout_ms=int(self._settings.outbox_acknowledge_seconds * 1000),
            )
            try:
                await producer.start()
                RELAY_ACTIVE.set(1)
                self._pause = _FIRST_PAUSE_SECONDS
                logger.info("relay active")
                await self._relay(connection, producer)
            finally:
                await _close(producer)
        finally:
            connection.terminate()

    def _on_notify(self, *_: object) -> None:
        self._wake.set()

    async def _relay(self, connection: asyncpg.Connection, producer: AIOKafkaProducer) -> None:
        """Send and delete for ever. While Kafka answers one batch, the next is read."""
        pending: _Sent | None = None
        after = rounds = 0
        while True:
            self._wake.clear()
            from_the_front = after == 0
            rows = await connection.fetch(_SELECT, after, self._settings.outbox_batch_size)
            sent = await self._send(producer, rows) if rows else None
            if pending is not None:
                await self._settle(connection, pending)
            pending = sent
            # Numbers are given out before commit, so that a smaller one may turn up later. After a short batch, the end
            # of what was seen, and now and then while there is no end, the next look starts from the front.
            rounds += 1
            is_full = len(rows) == self._settings.outbox_batch_size
            after = rows[-1]["id"] if is_full and rounds % _ROUNDS_FROM_THE_FRONT != 0 else 0
            if after == 0 and pending is not None:
                await self._settle(connection, pending)
                pending = None
            if from_the_front and not is_full:
                # What this look did not see had not been committed: word of it comes yet, or has come since.
                await happens(self._wake, _POLL_SECONDS)

    async def _send(self, producer: AIOKafkaProducer, rows: list[asyncpg.Record]) -> _Sent:
        spans = Sending.begin((row["topic"], row["value"]) for row in rows if row["headers"] is None)
        traced = iter(spans.headers) if spans is not None else None
        futures = []
        for row in rows:
            if row["headers"] is not None:
                headers = _headers(row["headers"])  # no event of ours: it goes out as it is
            else:
                headers = _EVENT_HEADERS if traced is None else [*_EVENT_HEADERS, next(traced)]
            futures.append(await producer.send(row["topic"], row["value"], row["key"], headers=headers))
        return _Sent([row["id"] for row in rows], futures, [row["topic"] for row in rows], spans)

    async def _settle(self, connection: asyncpg.Connection, sent: _Sent) -> None:
        """Delete what Kafka acknowledged; the rest is sent again, with a new producer."""
        # An idempotent producer tries for ever by itself, and may be dead (aiokafka#1017): waiting has an end here.
        await asyncio.wait(sent.futures, timeout=self._settings.outbox_acknowledge_seconds)
        results = [_outcome(future) for future in sent.futures]
        done = [
            number for number, result in zip(sent.ids, results, strict=True) if not isinstance(result, BaseException)
        ]
        if done:
            await connection.execute(_DELETE, done)
        for topic in set(sent.topics):
            RELAYED.labels(topic).inc(
                sum(
                    name == topic and not isinstance(result, BaseException)
                    for name, result in zip(sent.topics, results, strict=True)
                )
            )
        failures = [result for result in results if isinstance(result, BaseException)]
        if sent.spans is not None:
            sent.spans.end(type(failures[0]).__name__ if failures else None)
        if failures:
            raise RelayLostError(f"{len(failures)} of {len(sent.ids)} messages were not acknowledged: {failures[0]!r}")


def _outcome(future: asyncio.Future[object]) -> object:
    if not future.done():
        return TimeoutError("no acknowledgement")
    return future.exception() or future.result()


async def _close(producer: AIOKafkaProducer) -> None:
    """Close at once where Kafka is away: what was not acknowledged is still in the outbox.

    A producer that is only left alone would go on sending beside its successor, out of order.
    """
    try:
        async with asyncio.timeout(2):
            await producer.stop()
    except (KafkaError, OSError, TimeoutError):
        await producer._sender.close()  # noqa: SLF001 - stop() waits for acknowledgements; nothing public does not
        await producer.client.close()


def _headers(text: str) -> list[tuple[str, bytes | None]]:
    return decode_headers(msgspec.json.decode(text))
