"""First delivery or not: how far the effects of each partition are stored, in the database itself.

Kafka delivers a message again after a crash, a rebalance or a lost commit, and two members of a group may believe for
a moment that a partition is theirs. One row per group and partition, locked for the length of the batch's
transaction, makes the second delivery have no effect at the price of one row per batch instead of one per message.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from aiokafka import ConsumerRecord
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.telemetry import logger

Message: TypeAlias = ConsumerRecord[bytes, bytes]

_ENDS = text("SELECT topic, partition, next_offset FROM inbox WHERE consumer_group = :consumer_group")
_CREATE = text(
    """
    INSERT INTO inbox (consumer_group, topic, partition, next_offset, last_timestamp)
    SELECT :consumer_group, topic, partition, 0, 0
    FROM unnest(CAST(:topics AS text[]), CAST(:partitions AS integer[])) AS place (topic, partition)
    ON CONFLICT DO NOTHING
    """
)
# And says, for this transaction, that plans are made once: what a batch asks for goes by keys, whose plan is the same
# for two and for a thousand. PostgreSQL would plan anew for each batch, since it does not know how long arrays will be.
_LOCK = text(
    """
    SELECT topic, partition, next_offset, last_timestamp, set_config('plan_cache_mode', 'force_generic_plan', true)
    FROM inbox
    WHERE consumer_group = :consumer_group
      AND (topic, partition) IN (SELECT * FROM unnest(CAST(:topics AS text[]), CAST(:partitions AS integer[])))
    ORDER BY topic, partition
    FOR UPDATE
    """
)
_ADVANCE = text(
    """
    UPDATE inbox SET next_offset = place.next_offset, last_timestamp = place.last_timestamp, updated_at = now()
    FROM unnest(
        CAST(:topics AS text[]), CAST(:partitions AS integer[]),
        CAST(:offsets AS bigint[]), CAST(:timestamps AS bigint[])
    ) AS place (topic, partition, next_offset, last_timestamp)
    WHERE inbox.consumer_group = :consumer_group
      AND inbox.topic = place.topic AND inbox.partition = place.partition
    """
)

# Leaders of a partition may disagree a little about the time; a re-created log is younger than this by far.
_CLOCK_TOLERANCE_MS: Final = 60_000


async def ends(session: AsyncSession, consumer_group: str) -> dict[tuple[str, int], int]:
    """By topic and partition, the offset before which a group's effects are stored."""
    rows = await session.execute(_ENDS, {"consumer_group": consumer_group})
    return {(row.topic, row.partition): row.next_offset for row in rows}


async def receive(session: AsyncSession, consumer_group: str, messages: Sequence[Message]) -> list[Message]:
    """The messages whose effects are not stored yet, and from now on, with this transaction, are.

    Locks the partitions' rows until the transaction ends. A message below the stored offset has been processed,
    unless the broker appended it later than the last one processed: then the log was re-created (its offsets start
    again) and it is new.
    """
    places = sorted({(message.topic, message.partition) for message in messages})
    where = {
        "consumer_group": consumer_group,
        "topics": [topic for topic, _ in places],
        "partitions": [partition for _, partition in places],
    }
    rows = (await session.execute(_LOCK, where)).all()
    if len(rows) < len(places):
        await session.execute(_CREATE, where)
        rows = (await session.execute(_LOCK, where)).all()
    progress = {(row.topic, row.partition): (row.next_offset, row.last_timestamp) for row in rows}

    fresh: list[Message] = []
    for message in messages:
        place = (message.topic, message.partition)
        next_offset, last_timestamp = progress[place]
        if message.offset < next_offset:
            if message.timestamp <= last_timestamp + _CLOCK_TOLERANCE_MS:
                continue
            logger.warning("log re-created", topic=message.topic, partition=message.partition, offset=message.offset)
        progress[place] = (message.offset + 1, max(message.timestamp, 0))
        fresh.append(message)
    if fresh:
        await session.execute(
            _ADVANCE,
            where
            | {
                "offsets": [progress[place][0] for place in places],
                "timestamps": [progress[place][1] for place in places],
            },
        )
    return fresh
