"""The counts stay exact whatever happens at the same time, and counting anew proves or repairs them."""

import asyncio
import random
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from services.signals import recount, repository_options, service_options
from services.signals.consumers import engine_signals
from services.signals.service_answers import Answers
from services.signals.settings import SignalsSettings
from shared.db import SessionMaker
from shared.kafka import BatchProcessor
from tests.signals.test_concurrency import batches, rows, run
from tests.support.factories import engine_signal


async def execute(maker: SessionMaker, sql: str, **parameters: Any) -> None:
    async with maker() as session, session.begin():
        await session.execute(text(sql), parameters)


def signals(random_: random.Random, count: int) -> list[dict[str, Any]]:
    return [
        engine_signal(
            facility=f"Facility {random_.randrange(5)}",
            facility_id=random_.choice([None, "A", "B"]),
            system_name=random_.choice([None, "North", "South"]),
            domain=random_.choice(["Safety", "Efficiency"]),
            canonical_node_id=f"node {random_.randrange(20)}",
            percentile_rank=random_.choice([None, 1, 50, 99]),
            detected_at=f"2026-0{random_.randrange(1, 8)}-01T00:00:00Z",
            entity_dimensions=random_.choice([None, {"department": "1"}, {"department": "2", "unit": "3"}]),
        )
        for _ in range(count)
    ]


async def test_exact_beside_writers_rollbacks_and_several_folders(
    committing: SessionMaker, settings: SignalsSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    random_ = random.Random(7)  # noqa: S311 - no secret
    done = asyncio.Event()

    async def folder() -> None:
        while not done.is_set():
            await service_options.fold(committing)
            await asyncio.sleep(0.001)

    async def worker() -> None:
        while not done.is_set():
            await execute(
                committing,
                "UPDATE signals SET workflow_status = 'assigned', assignee_id = :id WHERE id IN"
                " (SELECT id FROM signals WHERE is_current ORDER BY id LIMIT 3)",
                id=uuid4(),
            )
            await asyncio.sleep(0.001)

    async def unlucky() -> None:
        while not done.is_set():
            async with committing() as session:
                await session.execute(text("DELETE FROM signals WHERE id IN (SELECT id FROM signals LIMIT 1)"))
                await session.rollback()
            await asyncio.sleep(0.001)

    async def recounter() -> None:
        while not done.is_set():
            assert await recount.recount(committing) == 0
            await asyncio.sleep(0.001)

    background = [asyncio.create_task(work()) for work in (folder, folder, worker, unlucky, recounter)]
    await run(
        committing,
        settings,
        batches(1, signals(random_, 150), 10),
        batches(2, signals(random_, 150), 7),
    )
    done.set()
    await asyncio.gather(*background)
    assert await rows(committing, "SELECT 1 FROM dead_letters") == []

    assert await recount.recount(committing) == 0
    while await service_options.fold(committing):
        pass
    assert await recount.recount(committing) == 0
    assert await rows(committing, "SELECT 1 FROM option_deltas") == []
    [(counted,)] = await rows(committing, "SELECT sum(count) FROM option_counts WHERE facet = 'signal'")
    [(found,)] = await rows(committing, "SELECT count(*) FROM signals WHERE is_current")
    assert counted == found > 20
    assert "every count was right" in capsys.readouterr().out


async def test_counting_anew_finds_and_repairs_what_is_wrong(
    committing: SessionMaker, settings: SignalsSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    await run(committing, settings, batches(1, [engine_signal(facility="a", system_name="North")], 1))
    await service_options.fold(committing)
    await execute(committing, "UPDATE option_counts SET count = 7 WHERE facet = 'facility'")
    await execute(committing, "DELETE FROM option_counts WHERE facet = 'status'")
    await execute(committing, "INSERT INTO option_deltas VALUES ('metric_id', 'none', NULL, 'Safety', NULL, 2)")

    assert await recount.recount(committing) == 1
    said = capsys.readouterr().out
    assert "'facility' 'NG1' 'a' in Effectiveness, North: 7 instead of 1" in said
    assert "'status' 'new' in Effectiveness, North: 0 instead of 1" in said
    assert "'metric_id' 'none' in Safety, no system: 2 instead of 0" in said
    assert "1 current signals; 3 counts were wrong" in said

    await service_options.fold(committing)
    assert await recount.recount(committing) == 0
    assert await rows(committing, "SELECT value, count FROM option_counts WHERE facet = 'facility'") == [("a", 1)]


async def test_folding_waits_for_nobody(committing: SessionMaker, settings: SignalsSettings) -> None:
    """A second folder goes on with nothing done, and a writer's open transaction holds nobody up."""
    [batch] = batches(1, [engine_signal()], 1)
    async with committing() as writer, writer.begin():
        await engine_signals(settings).handle(writer, batch)
        async with committing() as folder, folder.begin():
            assert await repository_options.fold(folder) is False
            async with asyncio.timeout(5):
                assert await service_options.fold(committing) is False
    assert len(await rows(committing, "SELECT 1 FROM option_deltas")) == 12


async def test_more_than_one_fold(
    committing: SessionMaker, settings: SignalsSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository_options, "_DELTAS_AT_ONCE", 5)
    process = BatchProcessor("signals", engine_signals(settings), committing)
    for batch in batches(1, [engine_signal(canonical_node_id=f"n{number}") for number in range(3)], 1):
        await process(batch)
    folds = 1
    while await service_options.fold(committing):
        folds += 1
    assert folds == 36 // 5 + 1
    assert await recount.recount(committing) == 0


async def test_who_asks_together_is_answered_together() -> None:
    answers, asked, go = Answers(), 0, asyncio.Event()

    async def make() -> dict[str, int]:
        nonlocal asked
        asked += 1
        await go.wait()
        return {"asked": asked}

    waiting = [asyncio.create_task(answers.get("key", make)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    go.set()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(told[0], asyncio.CancelledError)
    assert told[1:] == [b'{"asked":1}'] * 4


async def test_a_failure_is_not_kept() -> None:
    answers = Answers()

    async def fail() -> None:
        raise ValueError("not now")

    async def succeed() -> str:
        return "ok"

    with pytest.raises(ValueError, match="not now"):
        await answers.get("key", fail)
    assert await answers.get("key", succeed) == b'"ok"'


async def test_memory_is_bounded() -> None:
    answers = Answers()

    async def make() -> UUID:
        return uuid4()

    for number in range(1000):
        await answers.get(number, make)
    assert len(answers._kept) <= 64
