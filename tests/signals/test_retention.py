"""Retention: old history goes into the archive, where it is still shown, and known when it comes again."""

import argparse
import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from services.signals import retention
from services.signals.consumers import engine_signals
from services.signals.models import Signal, archived_signals
from services.signals.retention import Kept, Limits, keep
from services.signals.settings import SignalsSettings
from shared.db import SessionMaker
from shared.events import envelope
from shared.events.signals import SignalChanged
from shared.events.topics import COMPASS_WORKFLOW, ENGINE_INSIGHTS, ENGINE_SIGNALS
from shared.kafka import BatchProcessor
from tests.contracts.test_examples import example
from tests.signals.test_insights import insight
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest

MONTHS = [f"2026-0{month}-01T00:00:00Z" for month in range(1, 7)]
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
NEVER = datetime(2000, 1, 1, tzinfo=UTC)


def limits(history: datetime = NEVER, waiting: datetime = NEVER, replayed: datetime = NEVER) -> Limits:
    return Limits(history, waiting, NEVER, replayed)


async def detect(service: ServiceUnderTest, *values: dict[str, Any]) -> None:
    await service.consume("signals.ingest", *(message(ENGINE_SIGNALS, value) for value in values))


def months(**changes: Any) -> list[dict[str, Any]]:
    return [engine_signal(detected_at=month, **changes) for month in MONTHS]


async def archive(service: ServiceUnderTest, before: datetime = APRIL, rows: int = 2) -> Kept:
    return await keep(service.session_maker, limits(before), lambda _: None, rows)


async def stored(service: ServiceUnderTest) -> list[str]:
    rows = await service.rows("SELECT detected_at FROM signals ORDER BY detected_at")
    return [f"{row['detected_at']:%m}" for row in rows]


async def archived(service: ServiceUnderTest) -> list[str]:
    rows = await service.rows("SELECT detected_at FROM archived_signals ORDER BY detected_at")
    return [f"{row['detected_at']:%m}" for row in rows]


async def ids(service: ServiceUnderTest) -> dict[str, Any]:
    rows = await service.rows(
        "SELECT id, detected_at FROM signals UNION ALL SELECT id, detected_at FROM archived_signals"
    )
    return {f"{row['detected_at']:%m}": row["id"] for row in rows}


async def test_history_before_the_limit_moves_whole(service: ServiceUnderTest) -> None:
    await detect(service, *months(facility_id="A"), *months(facility_id="B"))
    before = await service.rows("SELECT * FROM signals WHERE detected_at < :limit ORDER BY id", limit=APRIL)
    lines: list[str] = []
    kept = await keep(service.session_maker, limits(APRIL), lines.append, 4)
    assert kept == Kept(history=6)
    assert [line.split(",")[0] for line in lines] == ["history: 4 moved", "history: 6 moved"]
    assert await service.rows("SELECT * FROM archived_signals ORDER BY id") == before
    assert await stored(service) == ["04", "04", "05", "05", "06", "06"]
    assert await archive(service) == Kept()


async def test_the_current_detection_stays_however_old(service: ServiceUnderTest) -> None:
    await detect(service, *months())
    assert (await archive(service, datetime(2030, 1, 1, tzinfo=UTC))).history == 5
    assert await stored(service) == ["06"]


async def test_history_and_detail_show_the_archive(service: ServiceUnderTest) -> None:
    await detect(service, *months())
    async with service.client("viewer") as client:

        async def pages(signal: Any) -> list[str]:
            found: list[str] = []
            cursor = None
            while True:
                params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
                page = (await client.get(f"/api/signals/{signal}/history", params=params)).json()
                found += [item["detected_at"][5:7] for item in page["signals"]]
                if (cursor := page["cursor"]) is None:
                    return found

        known = await ids(service)
        paths = [f"/api/signals/{known['02']}{part}" for part in ("", "/temporal", "/technical-details", "/insights")]
        before = [(await client.get(path)).json() for path in paths]
        await archive(service)
        # One between the archived ones stays: brought back by a correction, it is still in its place.
        await detect(service, engine_signal(detected_at=MONTHS[0], encounters=7))
        assert await archived(service) == ["02", "03"]
        assert await pages(known["06"]) == ["05", "04", "03", "02", "01"]
        assert await pages(known["03"]) == ["02", "01"]
        assert [(await client.get(path)).json() for path in paths] == before
        assert (await client.get(f"/api/signals/{known['02']}/related")).json() == {"signals": []}
        listed = (await client.get("/api/signals", params={"include_history": True})).json()
        assert listed["total_count"] == 4


async def test_the_drill_down_of_an_archived_detection_leads_to_current_ones(service: ServiceUnderTest) -> None:
    child = engine_signal(entity_dimensions={"department": "1"}, detected_at=MONTHS[5], encounters=10)
    other = engine_signal(metric_id="losIndex", detected_at=MONTHS[5])
    await detect(service, *months(), child, other)
    rows = await service.rows("SELECT id FROM signals WHERE entity_dimensions = '{}' AND metric_id = 'breachRate'")
    old = (await service.rows("SELECT id FROM signals WHERE NOT is_current ORDER BY detected_at LIMIT 1"))[0]["id"]
    assert len(rows) == 6
    async with service.client("viewer") as client:
        paths = [f"/api/signals/{old}/{part}" for part in ("children", "parent", "related", "contributions")]
        before = [(await client.get(path)).json() for path in paths]
        assert len(before[0]["signals"]) == len(before[2]["signals"]) == len(before[3]["contributions"]) == 1
        await archive(service)
        assert [(await client.get(path)).json() for path in paths] == before


async def test_the_same_message_again_changes_nothing(service: ServiceUnderTest) -> None:
    await detect(service, *months())
    await archive(service)
    events = len(await service.events())
    await detect(service, *months())
    assert len(await service.events()) == events
    assert await archived(service) == ["01", "02", "03"]


async def test_other_values_correct_it_under_its_next_sequence(service: ServiceUnderTest) -> None:
    await detect(service, *months())
    await archive(service)
    await detect(service, engine_signal(detected_at=MONTHS[1], encounters=99), engine_signal(detected_at=MONTHS[0]))
    assert await stored(service) == ["02", "04", "05", "06"]
    [event] = await service.events("signal.corrected")
    known = await ids(service)
    assert (event.subject, event.sequence) == (known["02"], 2)
    assert event.data_as(SignalChanged).changed == ["encounters"]
    [row] = await service.rows("SELECT * FROM signals WHERE id = :id", id=known["02"])
    assert (row["encounters"], row["is_current"], row["previous_signal_id"]) == (99, False, known["01"])
    assert (await archive(service)).history == 1
    assert len(await service.rows("SELECT 1 FROM signals UNION ALL SELECT 1 FROM archived_signals")) == 6


async def test_a_late_detection_follows_one_in_the_archive(service: ServiceUnderTest) -> None:
    await detect(service, *months())
    await archive(service)
    await detect(service, engine_signal(detected_at="2026-03-15T00:00:00Z"))
    [event] = await service.events("signal.recorded")
    assert event.data_as(SignalChanged).signal.previous_signal_id == (await ids(service))["03"]


async def test_an_edit_brings_it_back(service: ServiceUnderTest) -> None:
    await detect(service, *months())
    await archive(service)
    known = await ids(service)
    async with service.client("admin") as client:
        path = f"/api/signals/{known['02']}"
        answer = await client.patch(path, json={"description": "In my words."})
        assert answer.status_code == 200, answer.text
        await archive(service)
        assert (await client.get(path)).json()["description"] == "In my words."
    await detect(service, engine_signal(detected_at=MONTHS[1], encounters=5))
    [row] = await service.rows("SELECT description, encounters FROM signals WHERE id = :id", id=known["02"])
    assert row == {"description": "In my words.", "encounters": 5}


async def test_the_workflow_of_an_archived_detection(service: ServiceUnderTest) -> None:
    await detect(service, *months())
    await archive(service)
    known = await ids(service)
    event = example("compass.status.changed.v1")
    subject = str(envelope.decode(event).subject).encode()
    await service.consume(
        "signals.workflow", message(COMPASS_WORKFLOW, event.replace(subject, str(known["02"]).encode()))
    )
    [row] = await service.rows(
        "SELECT workflow_status, workflow_sequence FROM archived_signals WHERE id = :id", id=known["02"]
    )
    assert row["workflow_sequence"] == envelope.decode(event).sequence
    assert await service.rows("SELECT 1 FROM waiting_workflow_states") == []


async def test_what_else_goes_after_its_time(service: ServiceUnderTest) -> None:
    await detect(service, engine_signal())
    await service.consume(
        "signals.insights",
        *(message(ENGINE_INSIGHTS, insight(facility_id=facility)) for facility in ("NG1", "old", "new")),
    )
    await service.consume("signals.ingest", *(message(ENGINE_SIGNALS, b"%d" % number) for number in range(3)))
    async with service.client("admin") as client:
        letters = (await client.get("/api/dead-letters")).json()["dead_letters"]
        for number in (0, 1):
            body = {"ids": [letters[number]["id"]]}
            assert (await client.post("/api/dead-letters/replay", json=body)).status_code == 200
    async with service.session_maker() as session, session.begin():
        for statement in (
            "UPDATE insights SET received_at = received_at - interval '31 days' WHERE signal_id IS NOT NULL",
            "UPDATE insights SET received_at = received_at - interval '31 days' WHERE id = "
            "(SELECT id FROM insights WHERE signal_id IS NULL ORDER BY received_at LIMIT 1)",
            "UPDATE dead_letters SET replayed_at = replayed_at - interval '31 days' WHERE id = "
            "(SELECT id FROM dead_letters WHERE replayed_at IS NOT NULL ORDER BY id LIMIT 1)",
        ):
            await session.execute(text(statement))
    month = datetime.now(UTC) - timedelta(days=30)
    kept = await keep(service.session_maker, limits(waiting=month, replayed=month), lambda _: None, 1)
    assert kept == Kept(waiting_insights=1, replayed_dead_letters=1)
    assert len(await service.rows("SELECT 1 FROM insights")) == 2
    assert len(await service.rows("SELECT 1 FROM dead_letters")) == 2


async def test_workflow_states_that_never_found_their_signal_go_after_their_time(service: ServiceUnderTest) -> None:
    event = example("compass.status.changed.v1")
    subject = str(envelope.decode(event).subject).encode()
    waiting = [str(uuid4()) for _ in range(3)]
    await service.consume(
        "signals.workflow",
        *(message(COMPASS_WORKFLOW, event.replace(subject, signal.encode())) for signal in waiting),
    )
    async with service.session_maker() as session, session.begin():
        await session.execute(
            text(
                "UPDATE waiting_workflow_states SET received_at = received_at - interval '91 days' "
                "WHERE signal_id <> :kept"
            ),
            {"kept": waiting[0]},
        )
    before = datetime.now(UTC) - timedelta(days=90)
    kept = await keep(service.session_maker, Limits(NEVER, NEVER, before, NEVER), lambda _: None, 1)
    assert kept == Kept(waiting_states=2)
    [row] = await service.rows("SELECT signal_id FROM waiting_workflow_states")
    assert str(row["signal_id"]) == waiting[0]


def test_the_archive_has_the_columns_of_the_signals() -> None:
    def described(table: Any) -> list[tuple[str, str, bool]]:
        return [(column.name, str(column.type), column.nullable) for column in table.columns]

    assert described(archived_signals) == described(Signal.__table__)


async def test_rows_in_use_are_left_for_the_next_time(committing: SessionMaker, settings: SignalsSettings) -> None:
    """Whoever has locked a row is not waited for, and neither waits for the command."""
    process = BatchProcessor("signals", engine_signals(settings), committing)
    await process([message(ENGINE_SIGNALS, value, offset=number) for number, value in enumerate(months())])
    async with committing() as session, session.begin():
        await session.execute(text("SELECT FROM signals WHERE detected_at < '2026-02-02' FOR UPDATE"))
        async with asyncio.timeout(10):
            assert (await keep(committing, limits(APRIL), lambda _: None, 1)).history == 1
    assert (await keep(committing, limits(APRIL), lambda _: None, 1)).history == 2


async def test_beside_ingest_nothing_is_doubled_or_lost(committing: SessionMaker, settings: SignalsSettings) -> None:
    """Months are corrected again and again while they are moved again and again."""
    facilities = [f"F{number}" for number in range(8)]
    offset = iter(range(100_000))

    async def ingest() -> None:
        process = BatchProcessor("signals", engine_signals(settings), committing)
        for round_ in range(12):
            values = [
                engine_signal(facility_id=facility, detected_at=month, encounters=round_)
                for facility in facilities
                for month in MONTHS
            ]
            batch = [message(ENGINE_SIGNALS, value, offset=next(offset)) for value in values]
            for start in range(0, len(batch), 13):
                await process(batch[start : start + 13])

    task = asyncio.create_task(ingest())
    moved = 0
    while not task.done():
        moved += (await keep(committing, limits(APRIL), lambda _: None, 5)).history
        await asyncio.sleep(0)
    await task
    assert moved > 24
    async with committing() as session:
        statement = (
            "SELECT id, event_sequence, encounters FROM signals "
            "UNION ALL SELECT id, event_sequence, encounters FROM archived_signals"
        )
        rows = (await session.execute(text(statement))).all()
        assert (len(rows), len({row.id for row in rows})) == (48, 48)
        values = (await session.execute(text("SELECT value FROM outbox ORDER BY id"))).scalars().all()
        assert (await session.execute(text("SELECT count(*) FROM dead_letters"))).scalar() == 0
    sequences: dict[Any, list[int]] = {}
    for value in values:
        event = envelope.decode(bytes(value))
        sequences.setdefault(event.subject, []).append(event.sequence)
    assert all(numbers == list(range(1, 13)) for numbers in sequences.values())
    assert {(row.event_sequence, row.encounters) for row in rows} == {(12, 11)}


async def test_the_command(
    committing: SessionMaker,
    settings: SignalsSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    process = BatchProcessor("signals", engine_signals(settings), committing)
    await process([message(ENGINE_SIGNALS, value, offset=number) for number, value in enumerate(months())])
    monkeypatch.setattr(retention, "load", lambda _: settings)
    for expected in ("5 detections archived", "0 detections archived"):
        assert await asyncio.to_thread(retention.main, ["--older-than", "0h"]) == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith(expected)


@pytest.mark.parametrize("given", ["", "30", "d", "30y", "-1d", "1.5d", "٣d"])
def test_durations_that_are_none(given: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        retention._duration(given)


def test_durations() -> None:
    assert [retention._duration(given) for given in ("48h", "2d", "1w")] == [
        timedelta(hours=48),
        timedelta(days=2),
        timedelta(days=7),
    ]


@pytest.mark.parametrize("arguments", [[], ["--older-than", "soon"]])
def test_the_command_refuses(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        retention.main(arguments)
    assert end.value.code == 2
