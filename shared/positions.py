"""Which messages come next: where the database says that its effects end, not where Kafka believes it.

Both agree but after a database went back in time: restored from a backup, or failed over to a replica that had not
heard of the last transactions. Kafka's offsets, committed by what no longer is, would then skip messages for ever.

Kafka is told of the progress for those who look at the lag from outside, and for whoever starts without an inbox row:
now and then, since each time costs a request that the next batch would wait for. What is delivered again after a crash
is filtered by the inbox.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from math import inf
from time import monotonic
from typing import Final, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from shared import inbox
from shared.db import SessionMaker
from shared.inbox import Message
from shared.telemetry import CONSUMER_REWOUND

logger = structlog.get_logger(__name__)

_IDLE_POLL_MS: Final = 1000
_PAUSE_SECONDS: Final = 1.0
_ACKNOWLEDGE_SECONDS: Final = 0.5
FEW: Final = 50
"""More messages than so many at once come faster than one by one: nothing is gained by waiting for others."""


class Processor(Protocol):
    """What stores the effects of the batches: see `shared.kafka.BatchProcessor`."""

    session_maker: SessionMaker
    unfinished: bool
    pace: "Pace"


class Pace:
    """The least time between two batches where messages come one by one, for all members of a group in a process."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began_at = -inf

    def left(self) -> float:
        """Seconds until the next batch may begin; negative when it may."""
        return self._began_at + self._seconds - monotonic()

    def begin(self) -> None:
        """A batch begins."""
        self._began_at = monotonic()


class Reader:
    """Fetches batches of one consumer, each partition from where the group's inbox ends if that is earlier.

    The inbox is looked at when a partition is assigned, before any of its messages is handed on. A partition that it
    does not have is read from its beginning: the row is there before Kafka hears of the first offset. The reader is
    asked for a batch when the one before has been processed.
    """

    def __init__(self, group: str, most: int | None, process: Processor) -> None:
        self._group = group
        self._most = most
        self._process = process
        self._looked_at: frozenset[TopicPartition] = frozenset()
        self._handed_on: dict[TopicPartition, Sequence[Message]] = {}
        self._acknowledged_at = monotonic()
        self._to_acknowledge: dict[TopicPartition, int] = {}

    async def __call__(self, consumer: AIOKafkaConsumer) -> tuple[Message, ...]:
        """What waits, or comes first."""
        await self._settle(consumer)
        batches = await self._fetch(consumer)
        assigned = frozenset(consumer.assignment())
        if assigned != self._looked_at:
            batches = await self._look_at(consumer, assigned, batches)
        self._handed_on = batches
        self._process.pace.begin()
        return tuple(chain.from_iterable(batches.values()))

    async def _settle(self, consumer: AIOKafkaConsumer) -> None:
        """Note what has been processed, and tell Kafka if it is time; go back to what has not."""
        for place, messages in self._handed_on.items():
            if self._process.unfinished:
                with suppress(IllegalStateError):
                    consumer.seek(place, messages[0].offset)
            else:
                self._to_acknowledge[place] = messages[-1].offset + 1
        self._handed_on = {}
        if not self._to_acknowledge or monotonic() - self._acknowledged_at < _ACKNOWLEDGE_SECONDS:
            return
        mine = consumer.assignment()
        offsets = {place: offset for place, offset in self._to_acknowledge.items() if place in mine}
        self._to_acknowledge, self._acknowledged_at = {}, monotonic()
        try:
            if offsets:
                await consumer.commit(offsets)
        except (KafkaError, IllegalStateError) as error:
            # The next one says it as well; until then, and where the partition is another's now, the inbox knows.
            logger.info("kafka was not told of the progress", consumer_group=self._group, error=repr(error))

    async def _fetch(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, Sequence[Message]]:
        """What waits, or comes first; with what comes until the next batch may be.

        FastStream's own way sleeps after each look that found nothing for as long as it looked, and what comes
        meanwhile waits: measured, 10 ms per hop instead of 3. Looking for long, without sleeping, costs less of the
        processor, too.
        """
        batches: dict[TopicPartition, Sequence[Message]] = await consumer.getmany(
            timeout_ms=_IDLE_POLL_MS, max_records=self._most
        )
        early = self._process.pace.left()
        if batches and early > 0 and sum(map(len, batches.values())) <= FEW:
            await asyncio.sleep(early)
            for place, more in (await consumer.getmany(timeout_ms=0, max_records=self._most)).items():
                batches[place] = [*batches.get(place, ()), *more]
        return batches

    async def _look_at(
        self,
        consumer: AIOKafkaConsumer,
        assigned: frozenset[TopicPartition],
        batches: dict[TopicPartition, Sequence[Message]],
    ) -> dict[TopicPartition, Sequence[Message]]:
        """What of it may be handed on, now that the partitions are others."""
        new = assigned - self._looked_at
        begins = await self._begins(consumer, new, batches)
        stored = await self._stored() if new else {}
        for place, begin in begins.items():
            known = stored.get((place.topic, place.partition), 0)
            if known < begin and self._rewind(consumer, place, known, begin):
                batches.pop(place, None)
        # A partition that was taken away while it was looked at is looked at again should it come back.
        self._looked_at = assigned - new | set(begins)
        return {place: messages for place, messages in batches.items() if place in self._looked_at}

    async def _begins(
        self,
        consumer: AIOKafkaConsumer,
        places: Collection[TopicPartition],
        fetched: Mapping[TopicPartition, Sequence[Message]],
    ) -> dict[TopicPartition, int]:
        """Where Kafka has each partition begin, which is before what has just been fetched of it."""
        begins = {}
        for place in places:
            with suppress(IllegalStateError):
                begins[place] = fetched[place][0].offset if fetched.get(place) else await consumer.position(place)
        return begins

    def _rewind(self, consumer: AIOKafkaConsumer, place: TopicPartition, known: int, begin: int) -> bool:
        """Read it again from there; what the topic's retention has taken meanwhile cannot be. False if it is gone."""
        try:
            consumer.seek(place, known)
        except IllegalStateError:
            return False
        CONSUMER_REWOUND.labels(self._group, place.topic).inc()
        logger.warning(
            "the database ends before what Kafka believes to be processed, reading again from there",
            consumer_group=self._group,
            topic=place.topic,
            partition=place.partition,
            offset=known,
            believed=begin,
        )
        return True

    async def _stored(self) -> dict[tuple[str, int], int]:
        """The group's inbox. Without it nothing may be processed: whatever it is that keeps it away is waited for."""
        while True:
            try:
                async with self._process.session_maker() as session:
                    return await inbox.ends(session, self._group)
            except Exception as error:  # noqa: BLE001 - told and tried again
                logger.warning("the inbox cannot be read, trying again", consumer_group=self._group, error=repr(error))
                await asyncio.sleep(_PAUSE_SECONDS)
