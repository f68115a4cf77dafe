"""The engine's insights: stored once, told once, with their signal whichever comes first."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from services.signals.consumers import ENGINE_INSIGHT_TEXTS, engine_signals
from services.signals.settings import SignalsSettings
from shared.db import SessionMaker
from shared.events.signals import InsightGenerated
from shared.events.topics import ENGINE_INSIGHTS, ENGINE_SIGNALS
from shared.inbox import Message
from shared.kafka import BatchProcessor
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest


def insight(**changes: Any) -> dict[str, Any]:
    """An insight on the entity of `engine_signal`."""
    return {
        "canonical_node_id": "node:breach-rate",
        "metric_id": "breachRate",
        "facility_id": "NG1",
        "title": "Evening arrivals",
        "text": "Most breaches fall between 18:00 and 23:00.",
        "confidence": 0.82,
    } | changes


def insights(*values: Any) -> list[Message]:
    return [message(ENGINE_INSIGHTS, value) for value in values]


async def hear(service: ServiceUnderTest, *values: Any) -> None:
    await service.consume("signals.insights", *insights(*values))


async def detect(service: ServiceUnderTest, *values: dict[str, Any]) -> None:
    await service.consume("signals.ingest", *(message(ENGINE_SIGNALS, value) for value in values))


async def numbers(service: ServiceUnderTest) -> list[tuple[str, int]]:
    return [(event.type.split(".")[2], event.sequence) for event in await service.events()]


async def test_an_insight_is_told_with_its_signal(service: ServiceUnderTest) -> None:
    await detect(service, engine_signal(group_value="Emergency"))
    await hear(service, insight(title="Evening\narrivals.", model="m1", confidence=0.123456))
    [row] = await service.rows("SELECT * FROM insights")
    [signal] = await service.rows("SELECT id, entity_id, event_sequence FROM signals")
    assert (row["signal_id"], row["entity_id"], row["extra"]) == (signal["id"], signal["entity_id"], {"model": "m1"})
    assert float(row["confidence"]) == 0.1235
    [event] = await service.events("insight.generated")
    assert (event.subject, event.sequence, event.feedtype) == (signal["id"], 2, "insight")
    assert signal["event_sequence"] == 2
    assert event.summary == "Northfield General (Emergency): insight on breachRate: Evening arrivals."
    data = event.data_as(InsightGenerated)
    assert (data.insight_id, data.title, data.confidence) == (row["id"], "Evening\narrivals.", 0.1235)
    assert data.signal.signal_id == signal["id"]


async def test_it_is_stored_once_however_often_it_comes(service: ServiceUnderTest) -> None:
    await detect(service, engine_signal())
    await hear(service, insight(), insight(), insight(entity_dimensions={}))
    await hear(service, insight(confidence=0.82000001))
    await detect(service, engine_signal(detected_at="2026-07-02T00:00:00Z"))
    await hear(service, insight())
    assert len(await service.rows("SELECT 1 FROM insights")) == 1
    assert await numbers(service) == [("detected", 1), ("generated", 2), ("redetected", 1)]


async def test_what_says_something_else_is_another_insight(service: ServiceUnderTest) -> None:
    await detect(service, engine_signal())
    await hear(service, insight(), insight(text="Other."), insight(title="Other"), insight(confidence=0.5))
    assert len(await service.rows("SELECT 1 FROM insights")) == 4
    assert [number for _, number in await numbers(service)] == [1, 2, 3, 4, 5]
    await detect(service, engine_signal(encounters=5))
    assert (await numbers(service))[-1] == ("corrected", 6)


async def test_it_belongs_to_the_current_signal(service: ServiceUnderTest) -> None:
    await detect(service, engine_signal(), engine_signal(detected_at="2026-06-01T00:00:00Z"))
    await hear(service, insight())
    [row] = await service.rows("SELECT is_current FROM signals JOIN insights ON signal_id = signals.id")
    assert row["is_current"]


async def test_one_that_comes_before_its_signal_waits_for_it(service: ServiceUnderTest) -> None:
    await hear(service, insight(), insight(), insight(facility_id="other"))
    await hear(service, insight(title="Second"))
    assert await service.events() == []
    await detect(service, engine_signal(), engine_signal(facility_id="NG2"))
    rows = await service.rows("SELECT title, signal_id IS NULL AS waits FROM insights ORDER BY received_at, id")
    assert [(row["title"], row["waits"]) for row in rows] == [
        ("Evening arrivals", False),
        ("Evening arrivals", True),
        ("Second", False),
    ]
    told = await service.events("insight.generated")
    assert [(event.data_as(InsightGenerated).title, event.sequence) for event in told] == [
        ("Evening arrivals", 2),
        ("Second", 3),
    ]
    assert [row["event_sequence"] for row in await service.rows("SELECT * FROM signals ORDER BY facility_id")] == [3, 1]

    # Neither the insight nor the signal again has a second effect.
    await hear(service, insight())
    await detect(service, engine_signal())
    assert len(await service.events("insight.generated")) == 2


async def test_it_waits_for_the_current_of_several_first_detections(service: ServiceUnderTest) -> None:
    await hear(service, insight())
    await detect(service, engine_signal(), engine_signal(detected_at="2026-07-02T00:00:00Z"))
    [event] = await service.events("insight.generated")
    assert (event.sequence, event.data_as(InsightGenerated).signal.is_current) == (2, True)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"insight", "invalid_json"),
        (None, "empty_message"),
        (insight(title=""), "invalid_field"),
        (insight(title="x" * 256), "invalid_field"),
        (insight(confidence=1.1), "invalid_field"),
        (insight(confidence="0.5"), "invalid_field"),
        (insight(text="a\0b"), "nul_character"),
        (insight(entity_dimensions_hash="0"), "invalid_field"),
        ({"title": "t", "text": "t", "confidence": 1}, "invalid_field"),
    ],
    ids=str,
)
async def test_bad_ones_are_dead_letters(service: ServiceUnderTest, value: Any, code: str) -> None:
    await detect(service, engine_signal())
    await hear(service, value, insight())
    [letter] = await service.dead_letters()
    assert (letter["consumer_group"], letter["code"]) == ("signals.insights", code)
    assert len(await service.events("insight.generated")) == 1
    assert len(await service.events("message.rejected")) == 1


async def test_pages_newest_first(service: ServiceUnderTest) -> None:
    await detect(service, engine_signal())
    [signal] = await service.rows("SELECT id FROM signals")
    titles = [f"Insight {number}" for number in range(7)]
    await hear(service, *(insight(title=title) for title in titles[:4]))
    await hear(service, *(insight(title=title) for title in titles[4:]))
    path = f"/api/signals/{signal['id']}/insights"
    seen: list[str] = []
    cursor = None
    async with service.client("viewer") as client:
        while True:
            params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
            page = (await client.get(path, params=params)).json()
            seen += [item["title"] for item in page["insights"]]
            cursor = page["cursor"]
            assert page["has_more"] is (cursor is not None)
            if cursor is None:
                break
        assert seen == titles[::-1]
        detail = (await client.get(f"/api/signals/{signal['id']}")).json()
        assert [item["title"] for item in detail["insights"]] == titles[:1:-1]
        linked = (await client.get(detail["links"]["insights"], params={"limit": 5})).json()["insights"]
        assert [item["id"] for item in detail["insights"]] == [item["id"] for item in linked]
        assert (await client.get(f"/api/signals/{uuid4()}/insights")).status_code == 404
        assert (await client.get(path, params={"cursor": "x"})).status_code == 422
    async with service.client(None) as client:
        assert (await client.get(path)).status_code == 401


async def test_a_signal_without_any(service: ServiceUnderTest) -> None:
    await detect(service, engine_signal())
    [signal] = await service.rows("SELECT id FROM signals")
    async with service.client("viewer") as client:
        page = await client.get(f"/api/signals/{signal['id']}/insights")
        assert page.json() == {"insights": [], "cursor": None, "has_more": False}
        assert (await client.get(f"/api/signals/{signal['id']}")).json()["insights"] == []


async def test_an_insight_changes_the_etag(service: ServiceUnderTest) -> None:
    await detect(service, engine_signal())
    [signal] = await service.rows("SELECT id FROM signals")
    async with service.client("viewer") as client:
        before = (await client.get(f"/api/signals/{signal['id']}")).headers["etag"]
        await hear(service, insight())
        assert (await client.get(f"/api/signals/{signal['id']}")).headers["etag"] != before


@pytest.mark.parametrize("first", ["signal", "insight"])
async def test_signal_and_insight_at_the_same_time_find_each_other(
    committing: SessionMaker, settings: SignalsSettings, first: str
) -> None:
    """Whichever transaction is open when the other begins: the insight does not wait for ever."""
    signal = [message(ENGINE_SIGNALS, engine_signal(), offset=0)]
    texts = [message(ENGINE_INSIGHTS, insight(), offset=0)]
    ingest, hearing = engine_signals(settings), ENGINE_INSIGHT_TEXTS
    subscription, other = (ingest, hearing) if first == "signal" else (hearing, ingest)
    mine, theirs = (signal, texts) if first == "signal" else (texts, signal)
    async with committing() as session, session.begin():
        await subscription.handle(session, mine)
        task = asyncio.create_task(BatchProcessor("signals", other, committing)(theirs))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        async with asyncio.timeout(10), committing() as looking:
            while not (await looking.execute(text(waiting))).scalar():
                await looking.rollback()
                await asyncio.sleep(0.01)
    await task
    async with committing() as session:
        rows = (await session.execute(text("SELECT signal_id FROM insights"))).scalars().all()
        values = (await session.execute(text("SELECT value FROM outbox ORDER BY id"))).scalars().all()
    assert None not in rows
    assert len(rows) == 1
    told = [(json.loads(value)["type"], json.loads(value)["sequence"]) for value in values]
    assert told == [("compass.signal.detected.v1", 1), ("compass.insight.generated.v1", 2)]


async def test_one_that_is_known_waits_for_nobody(committing: SessionMaker) -> None:
    """Published again, an insight does not hold up ingest, nor wait for it."""
    process = BatchProcessor("signals", ENGINE_INSIGHT_TEXTS, committing)
    await process([message(ENGINE_INSIGHTS, insight(), offset=0)])
    storing = "SELECT pg_advisory_xact_lock_shared(hashtext('compass.waiting-workflow'), hashtext(current_schema()))"
    async with committing() as session, session.begin():
        await session.execute(text(storing))
        async with asyncio.timeout(10):
            await process([message(ENGINE_INSIGHTS, insight(), offset=1)])
