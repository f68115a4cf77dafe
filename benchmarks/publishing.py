"""The engine at a pace, in a process of its own, so that making messages is not taken for what is measured."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from time import perf_counter

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from deploy.demo.generated import FIRST_MONTH, MONTHS
from deploy.demo.outgoing import Outgoing, from_load
from shared.events.topics import ENGINE_SIGNALS

LAST_MONTH = FIRST_MONTH + MONTHS - 1
"""The month of the load generator's signals unless another is named."""

_STEP_SECONDS = 0.05
_ACKNOWLEDGED_AT_ONCE = 1000
"""So many are looked at together, while as many after them are in the air, so that nothing has to wait for it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """So many signals, at so many a second, of so many entities; then the next round of the same entities.

    A month's second round corrects its first, the round after that is of the next month.
    """

    signals: int
    per_second: float
    entities: int
    month: int = LAST_MONTH

    @property
    def detections(self) -> int:
        """How many different detections the signals are."""
        pairs, rest = divmod(self.signals, 2 * self.entities)
        return pairs * self.entities + min(rest, self.entities)

    def messages(self) -> Iterator[Outgoing]:
        """All of it, in order."""
        rounds = (from_load(self.entities, number + 1, self.month + number // 2).messages for number in count())
        return islice((message for messages in rounds for message in messages), self.signals)


@contextmanager
def started(bootstrap_servers: str, plan: Plan) -> Iterator[SpawnProcess]:
    """Publish meanwhile; the process ends with 0 when Kafka has acknowledged everything.

    At the end of the block it is killed: where something broke there may be no Kafka any more, which a producer would
    wait for without end.
    """
    process = get_context("spawn").Process(target=_run, args=(bootstrap_servers, plan))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


async def until_published(process: SpawnProcess) -> None:
    """Wait until all is published.

    Raises:
        RuntimeError: it was not.
    """
    await asyncio.to_thread(process.join)
    if process.exitcode != 0:
        raise RuntimeError("the publisher failed")


def _run(bootstrap_servers: str, plan: Plan) -> None:
    asyncio.run(_publish(bootstrap_servers, plan))


async def _publish(bootstrap_servers: str, plan: Plan) -> None:
    """In small steps, so that it is a stream and no series of heaps.

    Raises:
        KafkaError: Kafka did not take a message.
    """
    step = max(1, int(plan.per_second * _STEP_SECONDS))
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, linger_ms=5, acks="all", enable_idempotence=True)
    begun = perf_counter()
    waiting: list[asyncio.Future[RecordMetadata]] = []
    async with producer:
        for number, message in enumerate(plan.messages()):
            if number % step == 0:
                await asyncio.sleep(max(0.0, begun + number / plan.per_second - perf_counter()))
            waiting.append(await producer.send(ENGINE_SIGNALS.name, message.value, message.key.encode()))
            if len(waiting) == 2 * _ACKNOWLEDGED_AT_ONCE:
                await asyncio.gather(*waiting[:_ACKNOWLEDGED_AT_ONCE])
                del waiting[:_ACKNOWLEDGED_AT_ONCE]
        await asyncio.gather(*waiting)
