"""Consuming: raw bytes in batches, one transaction per batch, offsets after it, dead letters for what never works.

FastStream starts and stops the consumers. What is fetched and acknowledged is decided in `shared/positions.py`, what
happens to a batch in between here, because FastStream's own policies lose messages, block partitions or let one bad
body spoil a whole batch.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, time
from typing import Any, Final

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from sqlalchemy.ext.asyncio import AsyncSession

from shared import dead_letters, inbox
from shared.db import SessionMaker, is_transient
from shared.dead_letters import Rejection
from shared.events.decoding import RejectedMessageError
from shared.events.topics import Topic
from shared.gathering import Gathering
from shared.inbox import Message
from shared.positions import FEW, Pace, Reader
from shared.settings import ServiceSettings
from shared.supervision import Supervised, end_all
from shared.telemetry import (
    BATCH_SECONDS,
    CONSUMED,
    CONSUMER_LAG,
    CONSUMER_RESTARTS,
    CONSUMER_RETRIES,
    MESSAGE_DELAY,
    REDELIVERED,
    Cause,
    set_cause,
)
from shared.tracing_messages import Processing

logger = structlog.get_logger(__name__)

BatchHandler = Callable[[AsyncSession, Sequence[Message]], Awaitable[Sequence[Rejection]]]
"""Stores the effects of new messages in the session's transaction; returns those that can never be processed."""

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
# A failure that is none of the known passing ones is tried so often as a whole before the batch is split.
_ATTEMPTS_BEFORE_SPLIT: Final = 2
_WATCH_SECONDS: Final = 5.0
_LONGEST_UNASSIGNED_SECONDS: Final = 600.0
_STOP_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic that a service consumes, and what it does with a batch of it.

    ``group`` is the Kafka consumer group and the inbox's name for this use of the topic, `<service>.<purpose>`.
    ``members`` of it run in one process: while one decodes, the other's statements run. ``gather_seconds`` is the least
    time between two batches, of all members, where messages come one by one: a transaction for a few of them costs the
    machine much less than one for each.
    """

    topic: Topic
    group: str
    handle: BatchHandler
    members: int = 1
    gather_seconds: float = 0.0


class BatchProcessor:
    """Processes batches of one member of a subscription until their effects are stored, however long that takes."""

    def __init__(self, service: str, subscription: Subscription, session_maker: SessionMaker) -> None:
        self._service = service
        self._subscription = subscription
        self.session_maker = session_maker
        self.pace = Pace(subscription.gather_seconds)
        self.gathering = Gathering(self._process)
        self.busy = False
        """Whether a batch is being processed: then a lack of progress is not the consumer's fault."""
        self.unfinished = False
        """Whether the effects of the last batch are not all stored."""

    def another(self) -> "BatchProcessor":
        """Another member's, which stores few messages together with this one's."""
        processor = BatchProcessor(self._service, self._subscription, self.session_maker)
        processor.pace, processor.gathering = self.pace, self.gathering
        return processor

    async def __call__(self, messages: list[Message]) -> None:
        """Store the effects of a batch; returns only then, or when the task is cancelled."""
        self.busy = self.unfinished = True
        is_gathered = self._subscription.members > 1 and len(messages) <= FEW
        try:
            await (self.gathering if is_gathered else self._process)(messages)
            self.unfinished = False
        finally:
            self.busy = False

    async def _process(self, messages: Sequence[Message]) -> None:
        error = await self._try(messages, self._subscription.handle, _ATTEMPTS_BEFORE_SPLIT)
        if error is not None:
            await self._split(messages, error)

    async def _try(
        self, messages: Sequence[Message], handle: BatchHandler, attempts: int | None = None
    ) -> Exception | None:
        """Try until it is stored; what may pass for ever, any other failure so often, which is then answered."""
        pause, unexplained = _FIRST_PAUSE_SECONDS, 0
        while True:
            try:
                await self._transaction(messages, handle)
            except Exception as error:  # noqa: BLE001 - every failure is told apart here
                unexplained += not is_transient(error)
                if unexplained == attempts:
                    return error
                CONSUMER_RETRIES.labels(self._subscription.group).inc()
                logger.warning(
                    "batch failed, trying again",
                    consumer_group=self._subscription.group,
                    messages=len(messages),
                    pause_seconds=pause,
                    error=repr(error),
                )
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            else:
                return None

    async def _transaction(self, messages: Sequence[Message], handle: BatchHandler) -> None:
        group = self._subscription.group
        with BATCH_SECONDS.labels(group).time(), Processing(group) as spans:
            async with self.session_maker() as session, session.begin():
                fresh = await inbox.receive(session, group, messages)
                meant = [message for message in fresh if dead_letters.concerns(message, group)]
                if meant:
                    traceparent = spans.begin(meant)
                    set_cause(Cause(f"{meant[0].topic}/{meant[0].partition}/{meant[0].offset}", traceparent))
                    rejections = await handle(session, meant)
                    await dead_letters.reject(session, self._service, group, rejections)
        CONSUMED.labels(group, self._subscription.topic.name).inc(len(fresh))
        if fresh:
            oldest = min(message.timestamp for message in fresh) / 1000
            MESSAGE_DELAY.labels(group).observe(max(0.0, time() - oldest))
        if len(fresh) < len(messages):
            REDELIVERED.labels(group, self._subscription.topic.name).inc(len(messages) - len(fresh))

    async def _split(self, messages: Sequence[Message], error: Exception) -> None:
        """Find the message that spoils the batch, so that the good ones around it are stored at once."""
        if len(messages) > 1:
            middle = len(messages) // 2
            await self._process(messages[:middle])
            await self._process(messages[middle:])
            return
        logger.error("message cannot be processed", consumer_group=self._subscription.group, exc_info=error)
        reason = RejectedMessageError("processing_failed", f"Processing it failed: {type(error).__name__}: {error}")

        async def reject(_: AsyncSession, fresh: Sequence[Message]) -> Sequence[Rejection]:
            return [Rejection(new, reason) for new in fresh]

        # A dead letter that cannot be stored holds up its partition: without it the message would be lost.
        await self._try(messages, reject)


def create_broker(settings: ServiceSettings, subscription: Subscription, process: BatchProcessor) -> KafkaBroker:
    """A FastStream broker with this one subscription. It connects when it is started."""
    broker = KafkaBroker(
        settings.kafka_bootstrap_servers,
        client_id=f"compass-{subscription.group}",
        consumer_only=True,
        allow_auto_create_topics=False,
        apply_types=False,
        graceful_timeout=15.0,
        # A line per batch, "received" and "processed", is for whoever debugs.
        logger=logging.getLogger("compass.faststream"),
        log_level=logging.DEBUG,
    )
    subscriber = broker.subscriber(
        subscription.topic.name,
        batch=True,
        group_id=subscription.group,
        auto_offset_reset="earliest",
        # The reader acknowledges: it is asked for the next batch when the one before is stored.
        ack_policy=AckPolicy.MANUAL,
        max_records=settings.consumer_batch_size,
        max_partition_fetch_bytes=4 * 1024 * 1024,
        parser=_parse,
        decoder=_decode,
        no_reply=True,
    )
    subscriber.get_msg = Reader(subscription.group, subscriber.max_records, process)  # type: ignore[method-assign]
    subscriber(process)
    return broker


async def _parse(records: tuple[Message, ...], original: Callable[[Any], Awaitable[KafkaMessage]]) -> KafkaMessage:
    """Keep FastStream's parser from the headers: it fails on null and non-UTF-8 ones and would lose the batch."""
    first = records[0]
    stub = type(first)(**{name: getattr(first, name) for name in first.__dataclass_fields__} | {"headers": ()})
    message = await original((stub,))
    message.raw_message = records
    return message


async def _decode(message: KafkaMessage) -> list[Message]:
    return list(message.raw_message)


class Consumer:
    """Keeps one subscription consuming: starts it when Kafka is there, and anew when it is stuck.

    After some broker restarts aiokafka's consumer neither fails nor fetches (aiokafka#1154); only its lack of progress
    tells. The lag is measured on the way.
    """

    def __init__(self, settings: ServiceSettings, subscription: Subscription, process: BatchProcessor) -> None:
        self.subscription = subscription
        self._settings = settings
        self._process = process
        self._positions: dict[TopicPartition, int] = {}
        self._measured: set[TopicPartition] = set()
        self._progress_at = monotonic()
        self._assigned_at = monotonic()
        self._started = False
        self._broker_away = False

    @property
    def group(self) -> str:
        """The consumer group."""
        return self.subscription.group

    @property
    def healthy(self) -> bool:
        """Whether the subscription is consuming, or is up to date."""
        moving = monotonic() - self._progress_at < self._settings.stuck_consumer_seconds
        return self._started and moving and not self._broker_away

    async def run(self) -> None:
        """Consume until cancelled."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            broker = create_broker(self._settings, self.subscription, self._process)
            try:
                await broker.start()
                self._started, self._broker_away = True, False
                self._positions, self._progress_at, self._assigned_at = {}, monotonic(), monotonic()
                pause = _FIRST_PAUSE_SECONDS
                await self._watch(broker)
                CONSUMER_RESTARTS.labels(self.group).inc()
                logger.warning("consumer is stuck, making it anew", consumer_group=self.group)
            except Exception as error:  # noqa: BLE001 - a consumer that ends would never be missed by Kafka
                logger.warning("kafka is away", consumer_group=self.group, pause_seconds=pause, error=repr(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            finally:
                self._started = False
                await _stop(broker, self.group)

    async def _watch(self, broker: KafkaBroker) -> None:
        """Return when messages wait, none are being processed, and none have been for too long."""
        consumer = broker.subscribers[0].consumer  # type: ignore[attr-defined]
        while monotonic() - self._progress_at < self._settings.stuck_consumer_seconds:
            await asyncio.sleep(_WATCH_SECONDS)
            busy = self._process.busy
            # Looked at also while a batch is in hand: under load there always is one, and the lag is of interest then.
            moves = await self._moves(consumer) or busy
            self._broker_away = not moves and not await _answers(self._settings.kafka_bootstrap_servers)
            if moves or self._broker_away:
                # Without a broker nothing can move. A consumer that gets over it by itself is back sooner than a new
                # one, which the group lets in only when the old one's session has run out.
                self._progress_at = monotonic()

    async def _moves(self, consumer: Any) -> bool:
        """Whether every partition with messages waiting has moved since the last look."""
        assigned = consumer.assignment()
        for place in self._measured - assigned:
            # Another member tells of it now; the last figure from here, also by a consumer before this one, would stand
            # for ever.
            CONSUMER_LAG.remove(self.group, place.topic, str(place.partition))
        self._measured &= assigned
        self._positions = {place: offset for place, offset in self._positions.items() if place in assigned}
        if not assigned:
            # Either the group has more members than the topic has partitions, or this one failed to join. Making a
            # spare anew disturbs the others for a moment, so it is done seldom.
            return monotonic() - self._assigned_at < _LONGEST_UNASSIGNED_SECONDS
        self._assigned_at = monotonic()
        try:
            async with asyncio.timeout(_WATCH_SECONDS):
                ends: dict[TopicPartition, int] = await consumer.end_offsets(assigned)
                positions = {place: await consumer.position(place) for place in assigned}
        except (KafkaError, TimeoutError):
            return False
        moves = True
        for place, end in ends.items():
            lag = max(0, end - positions[place])
            CONSUMER_LAG.labels(self.group, place.topic, str(place.partition)).set(lag)
            self._measured.add(place)
            if lag and positions[place] == self._positions.get(place):
                moves = False
        self._positions = positions
        return moves


async def _answers(bootstrap_servers: str) -> bool:
    """Whether any broker accepts connections, asked past the consumer's own client, which may be what is stuck."""
    for server in bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_WATCH_SECONDS):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
                writer.close()
                return True
    return False


async def _stop(broker: KafkaBroker, group: str) -> None:
    try:
        # Stopping waits for the batch in hand; a consumer whose broker is gone may never answer.
        async with asyncio.timeout(_STOP_SECONDS):
            await broker.stop()
    except (KafkaError, OSError) as error:
        logger.warning("consumer did not stop cleanly", consumer_group=group, error=repr(error))


class Consumers:
    """All subscriptions of one process."""

    def __init__(
        self, service: str, settings: ServiceSettings, subscriptions: Sequence[Subscription], maker: SessionMaker
    ) -> None:
        self._first = [BatchProcessor(service, subscription, maker) for subscription in subscriptions]
        self.consumers = [
            Consumer(settings, subscription, first.another() if number else first)
            for subscription, first in zip(subscriptions, self._first, strict=True)
            for number in range(subscription.members)
        ]
        # A consumer gets over whatever Kafka does by itself; this is for what nobody thought of.
        self.supervised = [Supervised(consumer.group, consumer.run) for consumer in self.consumers]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start consuming in the background; a broker that is away is waited for."""
        self._tasks = [asyncio.create_task(work.run(), name=work.name) for work in self.supervised]

    async def stop(self) -> None:
        """Finish the batches in hand, commit their offsets and leave the groups."""
        await end_all(self._tasks, patience_seconds=_STOP_SECONDS + 1)
        await end_all([task for first in self._first if (task := first.gathering.task) is not None])

    @property
    def unhealthy(self) -> list[str]:
        """Groups that do not consume at present, though messages may wait."""
        return sorted({consumer.group for consumer in self.consumers if not consumer.healthy})
