"""The relay against real PostgreSQL and real Kafka: all, in order, however often something is away."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from deploy.local.kafka import EmbeddedKafka
from deploy.topics import apply
from shared import outbox
from shared.db import SessionMaker
from shared.events.topics import ENGINE_SIGNALS
from shared.inbox import Message
from shared.relay import Relay
from shared.settings import ServiceSettings
from shared.topic_reading import read_until_now
from tests.shared.conftest import SCHEMA
from tests.support.eventually import eventually

Query = Callable[..., Awaitable[list[Any]]]


@pytest.fixture
async def topic(kafka: EmbeddedKafka) -> str:
    name = f"relay-{uuid4().hex[:8]}"
    await apply(kafka.bootstrap_servers, [replace(ENGINE_SIGNALS, name=name, partitions=3)])
    return name


@asynccontextmanager
async def relaying(settings: ServiceSettings, kafka: EmbeddedKafka, count: int = 1) -> AsyncIterator[None]:
    here = settings.model_copy(
        update={
            "kafka_bootstrap_servers": kafka.bootstrap_servers,
            "outbox_batch_size": 200,
            "outbox_acknowledge_seconds": 2.0,
        }
    )
    tasks = [asyncio.create_task(Relay(here, SCHEMA).run()) for _ in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def publish(session_maker: SessionMaker, topic: str, numbers: range, keys: int = 20) -> None:
    rows = [
        outbox.RawMessage(topic, b"key-%d" % (number % keys), b"%d" % number, [("number", b"%d" % number)])
        for number in numbers
    ]
    async with session_maker() as session, session.begin():
        await outbox.publish_raw(session, rows)


async def relayed(kafka: EmbeddedKafka, topic: str, query: Query, seconds: float = 30) -> list[Message]:
    """All that the topic has once the outbox is empty, with whatever was delivered more than once."""
    await eventually(lambda: query("SELECT 1 FROM outbox LIMIT 1"), lambda rows: not rows, seconds=seconds)
    return [message async for batch in read_until_now(kafka.bootstrap_servers, [topic]) for message in batch]


def first_seen_in_order(messages: list[Message], count: int) -> None:
    """Every number is there, and each key's numbers first appear in order; repeated deliveries are allowed."""
    by_key: dict[bytes, list[int]] = defaultdict(list)
    for message in messages:
        by_key[message.key].append(int(message.value))
    seen: set[int] = set()
    for numbers in by_key.values():
        firsts = list(dict.fromkeys(numbers))
        assert firsts == sorted(firsts)
        seen.update(firsts)
    assert seen == set(range(count))


async def failures() -> float:
    return REGISTRY.get_sample_value("compass_outbox_failures_total") or 0.0


async def test_all_is_relayed_in_order_and_deleted(
    settings: ServiceSettings, kafka: EmbeddedKafka, topic: str, session_maker: SessionMaker, query: Query
) -> None:
    await publish(session_maker, topic, range(3000))
    async with relaying(settings, kafka):
        messages = await relayed(kafka, topic, query)
    assert len(messages) == 3000
    first_seen_in_order(messages, 3000)
    assert messages[0].headers == (("number", messages[0].value),)


async def test_a_commit_wakes_the_relay(
    settings: ServiceSettings,
    kafka: EmbeddedKafka,
    topic: str,
    session_maker: SessionMaker,
    query: Query,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Longer than anybody waits here: nothing but the commit can be what the relay looks for.
    monkeypatch.setattr("shared.relay._POLL_SECONDS", 600.0)
    async with relaying(settings, kafka):
        for number in range(5):
            await publish(session_maker, topic, range(number, number + 1))
            await eventually(lambda: query("SELECT 1 FROM outbox LIMIT 1"), lambda rows: not rows)


async def test_of_two_relays_one_is_active_and_the_other_takes_over(
    settings: ServiceSettings, kafka: EmbeddedKafka, topic: str, session_maker: SessionMaker, query: Query
) -> None:
    held = """SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
              AND classid = hashtext('compass.outbox')::bit(32)::bigint::oid"""
    async with relaying(settings, kafka, count=3):
        for start in range(0, 4000, 400):
            await publish(session_maker, topic, range(start, start + 400))
            # The active relay's connection is cut: its lock goes with it, and another goes on.
            await query(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> :me "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                me=0,
            )
            await eventually(lambda: query(held), lambda rows: rows[0][0] <= 1)
        first_seen_in_order(await relayed(kafka, topic, query), 4000)


async def test_nothing_is_lost_while_kafka_is_away(
    settings: ServiceSettings, kafka: EmbeddedKafka, topic: str, session_maker: SessionMaker, query: Query
) -> None:
    async with relaying(settings, kafka):
        await publish(session_maker, topic, range(500))
        await eventually(lambda: query("SELECT 1 FROM outbox LIMIT 1"), lambda rows: not rows)
        before = await failures()
        await asyncio.to_thread(kafka.kill)
        try:
            await publish(session_maker, topic, range(500, 1000))
            # Long enough for the relay to give up on what it had sent, more than once.
            await eventually(failures, lambda seen: seen >= before + 2)
        finally:
            await asyncio.to_thread(kafka.start)
        await publish(session_maker, topic, range(1000, 1500))
        first_seen_in_order(await relayed(kafka, topic, query, seconds=60), 1500)
