"""A batch's way through inbox, handler and dead letters, in this process and over real Kafka."""

import asyncio
import operator
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from traceback import walk_stack
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from faststream.kafka import KafkaBroker
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from deploy.local.kafka import EmbeddedKafka
from deploy.topics import apply
from shared import dead_letters
from shared.db import SessionMaker
from shared.dead_letters import Rejection
from shared.events import envelope
from shared.events.decoding import RejectedMessageError
from shared.events.topics import COMPASS_OPERATIONS, ENGINE_SIGNALS, Topic
from shared.inbox import Message
from shared.kafka import BatchProcessor, Consumer, Subscription, create_broker
from shared.settings import ServiceSettings
from tests.support.eventually import eventually
from tests.support.factories import message

Query = Callable[..., Awaitable[list[Any]]]


async def store(session: AsyncSession, messages: Sequence[Message]) -> list[Rejection]:
    """Store each value; what says `bad` is rejected, what says `poison` fails in the database."""
    rejections = []
    for each in messages:
        value = (each.value or b"").decode("latin-1")
        if value == "bad":
            rejections.append(Rejection(each, RejectedMessageError("bad", "It says so itself.")))
            continue
        await session.execute(
            text("INSERT INTO effects (partition, value) VALUES (:partition, :value)"),
            {"partition": each.partition, "value": "\0" if value == "poison" else value},
        )
    return rejections


def processor(session_maker: SessionMaker, handle: Any = store, topic: Topic = ENGINE_SIGNALS) -> BatchProcessor:
    return BatchProcessor("signals", Subscription(topic, "signals.test", handle), session_maker)


async def effects(query: Query) -> list[str]:
    return [row.value for row in await query("SELECT value FROM effects ORDER BY number")]


async def test_a_redelivered_batch_has_no_second_effect(session_maker: SessionMaker, query: Query) -> None:
    batch = [message(ENGINE_SIGNALS, b"%d" % number, offset=number, timestamp=1000 + number) for number in range(5)]
    process = processor(session_maker)
    await process(batch[:3])
    await process(batch)
    await process(batch)
    assert await effects(query) == ["0", "1", "2", "3", "4"]


async def test_two_members_with_the_same_batch_have_one_effect(session_maker: SessionMaker, query: Query) -> None:
    batch = [message(ENGINE_SIGNALS, b"%d" % number, offset=number, timestamp=1000) for number in range(50)]
    # The partition is known already: making its row would keep the members apart as well.
    await processor(session_maker)(batch[:1])
    await asyncio.gather(*(processor(session_maker)(batch) for _ in range(4)))
    assert sorted(map(int, await effects(query))) == list(range(50))


async def test_partitions_are_counted_apart(session_maker: SessionMaker, query: Query) -> None:
    process = processor(session_maker)
    await process([message(ENGINE_SIGNALS, b"a", offset=7, partition=1, timestamp=1)])
    await process([message(ENGINE_SIGNALS, b"b", offset=3, partition=2, timestamp=1)])
    assert await effects(query) == ["a", "b"]


async def test_a_log_that_was_made_anew_is_read_from_its_start(session_maker: SessionMaker, query: Query) -> None:
    process = processor(session_maker)
    await process([message(ENGINE_SIGNALS, b"old", offset=500, timestamp=1_000_000)])
    await process([message(ENGINE_SIGNALS, b"redelivered", offset=499, timestamp=1_000_000)])
    await process([message(ENGINE_SIGNALS, b"new", offset=0, timestamp=9_000_000)])
    assert await effects(query) == ["old", "new"]


async def test_a_rejected_message_is_kept_once_with_its_reason(session_maker: SessionMaker, query: Query) -> None:
    headers = [("trace", None), ("odd", b"\xff\xfe"), ("correlationid", b"run-7")]
    batch = [
        message(ENGINE_SIGNALS, b"good", offset=0),
        message(ENGINE_SIGNALS, b"bad", offset=1, key=None, headers=headers),
        message(ENGINE_SIGNALS, b"also good", offset=2),
    ]
    await processor(session_maker)(batch)
    await processor(session_maker)(batch)
    assert await effects(query) == ["good", "also good"]
    (letter,) = await query("SELECT * FROM dead_letters")
    assert (letter.code, letter.detail, letter.offset) == ("bad", "It says so itself.", 1)
    assert bytes(letter.value) == b"bad"
    rows = await query("SELECT * FROM outbox ORDER BY id")
    assert [row.topic for row in rows] == ["engine.signals.v1.dead-letter", "compass.operations.v1"]
    event = envelope.decode(bytes(rows[1].value))
    assert (event.feedtype, event.sequence, event.source) == ("technical_error", 1, "/services/signals")
    assert event.correlationid == "run-7"
    assert event.subject == letter.id


async def test_a_message_that_breaks_the_batch_does_not_keep_the_others(
    session_maker: SessionMaker, query: Query
) -> None:
    batch = [message(ENGINE_SIGNALS, b"%d" % number, offset=number) for number in range(20)]
    batch[13] = replace(batch[13], value=b"poison")
    await asyncio.wait_for(processor(session_maker)(batch), 5)
    assert await effects(query) == [str(number) for number in range(20) if number != 13]
    (letter,) = await query("SELECT code, detail FROM dead_letters")
    assert letter.code == "processing_failed"


async def test_a_dead_letter_that_cannot_be_stored_is_tried_until_it_can(
    session_maker: SessionMaker, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    depths: list[int] = []
    pauses: list[float] = []
    store_letter = dead_letters.reject

    async def fail_first(session: AsyncSession, service: str, group: str, rejections: Sequence[Rejection]) -> None:
        if rejections and len(depths) < 12:
            depths.append(sum(1 for _ in walk_stack(None)))
            raise ValueError("no reason that passes")
        await store_letter(session, service, group, rejections)

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("shared.kafka.dead_letters.reject", fail_first)
    monkeypatch.setattr("shared.kafka.asyncio.sleep", pause)
    batch = [message(ENGINE_SIGNALS, value, offset=offset) for offset, value in enumerate((b"a", b"poison", b"b"))]
    await processor(session_maker)(batch)
    assert await effects(query) == ["a", "b"]
    (letter,) = await query("SELECT code FROM dead_letters")
    assert letter.code == "processing_failed"
    # Each try starts from the same place, however many there were; what did not pass at once is asked less and less.
    assert len(set(depths)) == 1
    assert len(depths) == 12
    assert pauses[-12:] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, *[5.0] * 6]


async def test_rejecting_a_rejection_is_not_told_again(session_maker: SessionMaker, query: Query) -> None:
    await processor(session_maker, topic=COMPASS_OPERATIONS)([message(COMPASS_OPERATIONS, b"bad")])
    assert [row.topic for row in await query("SELECT topic FROM outbox")] == ["compass.operations.v1.dead-letter"]


@pytest.mark.parametrize(
    "failure",
    [
        OperationalError("connection refused", None, OSError("refused")),
        ConnectionRefusedError("refused"),
        TimeoutError(),
        DBAPIError("deadlock", None, type("Deadlock", (Exception,), {"sqlstate": "40P01"})()),
    ],
)
async def test_a_failure_that_passes_is_waited_for(
    session_maker: SessionMaker, query: Query, failure: Exception
) -> None:
    failures = [failure] * 3

    async def fail_first(session: AsyncSession, messages: Sequence[Message]) -> list[Rejection]:
        if failures:
            raise failures.pop()
        return await store(session, messages)

    await processor(session_maker, fail_first)([message(ENGINE_SIGNALS, b"late", offset=0)])
    assert await effects(query) == ["late"]
    assert await query("SELECT * FROM dead_letters") == []


@asynccontextmanager
async def consuming(settings: ServiceSettings, topic: Topic, maker: SessionMaker) -> Any:
    subscription = Subscription(topic, f"signals.{topic.name}", store)
    consumer = Consumer(settings, subscription, BatchProcessor("signals", subscription, maker))
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def topic(kafka: EmbeddedKafka) -> Topic:
    made = replace(ENGINE_SIGNALS, name=f"engine.test-{uuid4().hex[:8]}.v1", partitions=3)
    await apply(kafka.bootstrap_servers, [made])
    return made


async def test_over_kafka_nothing_is_lost_or_doubled_across_restarts(
    settings: ServiceSettings, kafka: EmbeddedKafka, topic: Topic, session_maker: SessionMaker, query: Query
) -> None:
    here = settings.model_copy(update={"kafka_bootstrap_servers": kafka.bootstrap_servers, "consumer_batch_size": 50})
    values = [b"%d" % number for number in range(2000)]
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        for number, value in enumerate(values):
            await producer.send(topic.name, value, partition=number % 3)
        await producer.flush()

    async def stored() -> int:
        return int((await query("SELECT count(*) FROM effects"))[0][0])

    for target in (200, 1000, 2000):
        async with consuming(here, topic, session_maker):
            await eventually(stored, partial(operator.le, target))
    rows = await query("SELECT partition, value FROM effects ORDER BY number")
    for partition in range(3):
        seen = [int(row.value) for row in rows if row.partition == partition]
        assert seen == [number for number in range(2000) if number % 3 == partition]


async def test_over_kafka_a_database_that_went_back_in_time_is_caught_up(
    settings: ServiceSettings, kafka: EmbeddedKafka, topic: Topic, session_maker: SessionMaker, query: Query
) -> None:
    """Kafka has offsets that were committed by what a restore took away: messages behind them are read again, once."""
    here = settings.model_copy(update={"kafka_bootstrap_servers": kafka.bootstrap_servers, "consumer_batch_size": 50})
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        for number in range(300):
            await producer.send(topic.name, b"%d" % number, partition=number % 3)
        await producer.flush()
    async with consuming(here, topic, session_maker):
        await eventually(lambda: effects(query), lambda seen: len(seen) == 300)
    later = "partition = 2 OR (partition = 1 AND CAST(value AS integer) >= 120)"
    await query(f"DELETE FROM effects WHERE {later} RETURNING 1")  # noqa: S608 - constants
    await query("DELETE FROM inbox WHERE partition = 2 RETURNING 1")
    await query("UPDATE inbox SET next_offset = 40 WHERE partition = 1 RETURNING 1")
    async with consuming(here, topic, session_maker):
        await eventually(lambda: effects(query), lambda seen: len(seen) >= 300)
    rows = await query("SELECT partition, value FROM effects ORDER BY number")
    for partition in range(3):
        seen = [int(row.value) for row in rows if row.partition == partition]
        assert seen == [number for number in range(300) if number % 3 == partition]


async def test_over_kafka_odd_headers_and_null_values_are_consumed(
    settings: ServiceSettings, kafka: EmbeddedKafka, topic: Topic, session_maker: SessionMaker, query: Query
) -> None:
    here = settings.model_copy(update={"kafka_bootstrap_servers": kafka.bootstrap_servers})
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        await producer.send_and_wait(topic.name, b"before", partition=0)
        await producer.send_and_wait(topic.name, b"null header", partition=0, headers=[("h", None)])
        await producer.send_and_wait(topic.name, b"binary header", partition=0, headers=[("h", b"\xff\xfe")])
        await producer.send_and_wait(topic.name, None, partition=0, key=b"tombstone")
        await producer.send_and_wait(topic.name, b"after", partition=0)
    async with consuming(here, topic, session_maker):
        seen = await eventually(lambda: effects(query), lambda seen: len(seen) == 5)
    assert seen == ["before", "null header", "binary header", "", "after"]


async def test_over_kafka_a_broker_that_was_away_is_taken_up_again(
    settings: ServiceSettings, kafka: EmbeddedKafka, topic: Topic, session_maker: SessionMaker, query: Query
) -> None:
    here = settings.model_copy(
        update={"kafka_bootstrap_servers": kafka.bootstrap_servers, "stuck_consumer_seconds": 10.0}
    )
    async with consuming(here, topic, session_maker):
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
            await producer.send_and_wait(topic.name, b"before")
        await eventually(lambda: effects(query), lambda seen: seen == ["before"])
        await asyncio.to_thread(kafka.kill)
        await asyncio.to_thread(kafka.start)
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
            await producer.send_and_wait(topic.name, b"after")
        await eventually(lambda: effects(query), lambda seen: seen == ["before", "after"], seconds=60)


async def test_over_kafka_a_consumer_that_stands_still_is_made_anew(
    settings: ServiceSettings,
    kafka: EmbeddedKafka,
    topic: Topic,
    session_maker: SessionMaker,
    query: Query,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Paused partitions look from outside like aiokafka's consumer when it hangs: no failure, no progress."""
    made: list[KafkaBroker] = []

    def remember(*arguments: Any) -> KafkaBroker:
        made.append(create_broker(*arguments))
        return made[-1]

    monkeypatch.setattr("shared.kafka.create_broker", remember)
    monkeypatch.setattr("shared.kafka._WATCH_SECONDS", 0.5)
    here = settings.model_copy(
        update={"kafka_bootstrap_servers": kafka.bootstrap_servers, "stuck_consumer_seconds": 3.0}
    )
    async with (
        consuming(here, topic, session_maker) as consumer,
        AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer,
    ):
        await producer.send_and_wait(topic.name, b"before")
        await eventually(lambda: effects(query), lambda seen: seen == ["before"])
        stuck = made[0].subscribers[0].consumer  # type: ignore[attr-defined]
        stuck.pause(*stuck.assignment())
        await producer.send_and_wait(topic.name, b"after")
        await eventually(lambda: effects(query), lambda seen: seen == ["before", "after"], seconds=30)
        assert len(made) == 2
        assert consumer.healthy
