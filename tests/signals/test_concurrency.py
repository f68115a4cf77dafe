"""Two instances that meet the same entities: one current row each, sequences without gaps, nothing lost."""

import asyncio
from collections import Counter
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from services.signals.consumers import engine_signals
from services.signals.repository_ingest import RaceLostError
from services.signals.settings import SignalsSettings
from shared.db import SessionMaker, is_transient
from shared.events import envelope
from shared.events.topics import ENGINE_SIGNALS
from shared.inbox import Message
from shared.kafka import BatchProcessor
from tests.support.eventually import eventually
from tests.support.factories import engine_signal, message
from tests.support.locks import waiting_for_locks


def batches(partition: int, values: list[dict[str, Any]], size: int) -> list[list[Message]]:
    messages = [
        message(ENGINE_SIGNALS, value, partition=partition, offset=offset) for offset, value in enumerate(values)
    ]
    return [messages[start : start + size] for start in range(0, len(messages), size)]


async def run(maker: SessionMaker, settings: SignalsSettings, *streams: list[list[Message]]) -> None:
    async def instance(stream: list[list[Message]]) -> None:
        process = BatchProcessor("signals", engine_signals(settings), maker)
        for batch in stream:
            await process(batch)

    await asyncio.gather(*(instance(stream) for stream in streams))


async def rows(maker: SessionMaker, sql: str) -> list[Any]:
    async with maker() as session:
        return list((await session.execute(text(sql))).all())


async def test_one_entity_spread_over_partitions(committing: SessionMaker, settings: SignalsSettings) -> None:
    """The same entities from two partitions, in opposite orders, with corrections and republications."""
    months = [f"2026-0{month}-01T00:00:00Z" for month in range(1, 8)]
    values = [
        engine_signal(facility_id=f"F{facility}", detected_at=month, encounters=facility)
        for month in months
        for facility in range(12)
    ]
    one = values + [value | {"encounters": 99} for value in values]
    other = [*reversed(values), *(value | {"metric_value": 0.5} for value in reversed(values))]
    await run(committing, settings, batches(1, one, 7), batches(2, other, 5))

    assert await rows(committing, "SELECT count(*), count(*) FILTER (WHERE is_current) FROM signals") == [(84, 12)]
    wrong = """
        SELECT 1 FROM signals AS s WHERE is_current
        <> (detected_at = (SELECT max(detected_at) FROM signals AS o WHERE o.entity_id = s.entity_id))
    """
    assert await rows(committing, wrong) == []
    assert await rows(committing, "SELECT 1 FROM dead_letters") == []

    events = [
        envelope.decode(bytes(row.value)) for row in await rows(committing, "SELECT value FROM outbox ORDER BY id")
    ]
    sequences: dict[Any, list[int]] = {}
    for event in events:
        sequences.setdefault(event.subject, []).append(event.sequence)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in sequences.values())
    stored = dict(await rows(committing, "SELECT id, event_sequence FROM signals"))
    assert stored == {subject: len(numbers) for subject, numbers in sequences.items()}
    first = Counter(event.type for event in events if event.sequence == 1)
    assert first["compass.signal.detected.v1"] == 12


async def test_a_lost_race_is_tried_again(committing: SessionMaker, settings: SignalsSettings) -> None:
    """A row changes between reading and writing: the batch starts again on what is there then."""
    [first] = batches(1, [engine_signal(encounters=1)], 1)
    await run(committing, settings, [first])
    [second] = batches(2, [engine_signal(encounters=2)], 1)

    async with committing() as session, session.begin():
        await session.execute(text("UPDATE signals SET event_sequence = event_sequence + 1, encounters = 7"))
        task = asyncio.create_task(run(committing, settings, [second]))
        await eventually(partial(waiting_for_locks, committing), every=0.01)
    await task

    assert await rows(committing, "SELECT encounters, event_sequence FROM signals") == [(2, 3)]


@pytest.mark.parametrize("detected_at", ["2026-07-01T00:00:00Z", "2026-08-01T00:00:00Z"])
async def test_two_first_detections_at_once(
    committing: SessionMaker, settings: SignalsSettings, detected_at: str
) -> None:
    """Neither sees the other: the unique index stops the later one, which then finds the former."""
    [mine] = batches(1, [engine_signal()], 1)
    [theirs] = batches(2, [engine_signal(detected_at=detected_at)], 1)
    async with committing() as session, session.begin():
        await engine_signals(settings).handle(session, mine)
        task = asyncio.create_task(run(committing, settings, [theirs]))
        await eventually(partial(waiting_for_locks, committing), every=0.01)
    await task

    expected = 1 if detected_at == "2026-07-01T00:00:00Z" else 2
    assert await rows(committing, "SELECT count(*), count(*) FILTER (WHERE is_current) FROM signals") == [(expected, 1)]
    assert len(await rows(committing, "SELECT 1 FROM outbox")) == expected


def test_a_lost_race_passes() -> None:
    assert is_transient(RaceLostError("lost"))
