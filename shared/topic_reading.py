"""What topics have until now, read once and in no consumer group: for commands, beside whoever consumes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.inbox import Message

Starts: TypeAlias = Callable[[AIOKafkaConsumer], Awaitable[Mapping[TopicPartition, int]]]
"""From which offset partitions are read; those that are not named, and what is gone, from the beginning."""

_BATCH: Final = 1000
_POLL_MS: Final = 500
_SILENCE_SECONDS: Final = 30.0


class KafkaSilentError(Exception):
    """Kafka has messages that it does not hand over."""


async def read_until_now(
    bootstrap_servers: str, topics: Sequence[str], starts: Starts | None = None
) -> AsyncIterator[Sequence[Message]]:
    """The messages of these topics to where they end when this begins, in batches that are each of one partition.

    Raises:
        KafkaSilentError: when nothing comes for half a minute though there is more.
    """
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=bootstrap_servers,
        group_id=None,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    async with consumer:
        ends = await _ends(consumer)
        for place, offset in (await starts(consumer) if starts else {}).items():
            consumer.seek(place, offset)
            if offset >= ends.get(place, 0):
                ends.pop(place, None)
        silent = 0.0
        while ends:
            batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_BATCH)
            for place, messages in batches.items():
                if wanted := [message for message in messages if message.offset < ends.get(place, 0)]:
                    yield wanted
            # A position is behind what a transaction or the retention took away, too.
            ends = {place: end for place, end in ends.items() if await consumer.position(place) < end}
            silent = 0.0 if batches else silent + _POLL_MS / 1000
            if silent > _SILENCE_SECONDS:
                raise KafkaSilentError(f"nothing comes of {len(ends)} partitions though they have more")


async def _ends(consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
    """Where each partition ends that has anything."""
    places = consumer.assignment()
    ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
    begins: dict[TopicPartition, int] = await consumer.beginning_offsets(places)
    return {place: end for place, end in ends.items() if end > begins[place]}
