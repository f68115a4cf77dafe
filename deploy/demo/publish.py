"""Where the messages go: Kafka, or a file."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from deploy.demo.errors import InputError
from deploy.demo.outgoing import Outgoing
from shared.events.topics import ENGINE_SIGNALS

_IN_FLIGHT = 5000
"""Messages given to the producer before it is waited for: enough to fill batches, few enough for memory."""

_TOPIC_SECONDS = 10.0

Sent = Callable[[Outgoing], None]
"""Called for every message that has arrived."""


class PublishError(Exception):
    """Kafka did not take the messages; the message is one line for the user."""


async def publish(messages: Iterable[Outgoing], bootstrap_servers: str, sent: Sent) -> None:
    """Publish to the engine's topic, in order per key; raises PublishError when Kafka is away or refuses."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        max_batch_size=256 * 1024,
        max_request_size=ENGINE_SIGNALS.max_message_bytes,
    )
    try:
        await producer.start()
        await _require_topic(producer, bootstrap_servers)
        await _send(producer, messages, sent)
    except KafkaError as error:
        raise PublishError(
            f"Kafka at {bootstrap_servers} (COMPASS_KAFKA_BOOTSTRAP_SERVERS) did not take the signals: {error}"
        ) from error
    finally:
        await producer.stop()


async def _require_topic(producer: AIOKafkaProducer, bootstrap_servers: str) -> None:
    # The producer itself would go on asking for 40 seconds.
    try:
        async with asyncio.timeout(_TOPIC_SECONDS):
            await producer.partitions_for(ENGINE_SIGNALS.name)
    except (TimeoutError, UnknownTopicOrPartitionError) as error:
        raise PublishError(
            f"Kafka at {bootstrap_servers} has no topic {ENGINE_SIGNALS.name}: python -m deploy.topics creates it"
        ) from error


async def _send(producer: AIOKafkaProducer, messages: Iterable[Outgoing], sent: Sent) -> None:
    pending: list[tuple[Outgoing, asyncio.Future[object]]] = []
    for message in messages:
        pending.append((message, await producer.send(ENGINE_SIGNALS.name, message.value, key=message.key.encode())))
        if len(pending) >= _IN_FLIGHT:
            await _settle(pending, sent)
    await _settle(pending, sent)


async def _settle(pending: list[tuple[Outgoing, asyncio.Future[object]]], sent: Sent) -> None:
    for message, future in pending:
        await future
        sent(message)
    pending.clear()


def write(messages: Iterable[Outgoing], path: Path, sent: Sent) -> None:
    """Write one message per line; raises InputError when the file cannot be written."""
    try:
        with path.open("wb") as file:
            for message in messages:
                file.write(message.value + b"\n")
                sent(message)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
