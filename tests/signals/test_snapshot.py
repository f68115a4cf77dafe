"""Snapshots: what is, under the sequence of the last event, with room for everybody else in the outbox."""

import asyncio
from typing import Any

from services.signals.snapshot import PARTS
from shared import snapshots
from shared.events.signals import MetricChanged, SignalChanged
from shared.events.topics import ENGINE_INSIGHTS, ENGINE_SIGNALS
from tests.signals.test_insights import insight
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest


async def detect(service: ServiceUnderTest, *values: dict[str, Any]) -> None:
    await service.consume("signals.ingest", *(message(ENGINE_SIGNALS, value) for value in values))


async def publish(service: ServiceUnderTest, *names: str, after: str | None = None) -> list[snapshots.Progress]:
    seen: list[snapshots.Progress] = []
    chosen = [part for part in PARTS if part.name in names]
    async with asyncio.timeout(20):
        await snapshots.publish(
            service.session_maker, chosen, seen.append, after=after, batch_size=2, most_waiting=100_000
        )
    return seen


async def test_a_snapshot_repeats_the_last_event(service: ServiceUnderTest) -> None:
    await detect(service, *(engine_signal(facility_id=f"F{n}") for n in range(5)))
    await detect(service, engine_signal(facility_id="F0", encounters=5))
    await service.consume("signals.insights", message(ENGINE_INSIGHTS, insight(facility_id="F1")))
    last = {event.subject: event for event in await service.events()}
    before = await service.rows("SELECT * FROM signals ORDER BY id")
    progress = await publish(service, "signals")
    assert [(each.published, each.total) for each in progress] == [(2, 5), (4, 5), (5, 5)]
    told = await service.events("signal.snapshot")
    assert {event.subject: event.sequence for event in told} == {
        subject: event.sequence for subject, event in last.items()
    }
    assert sorted(event.sequence for event in told) == [1, 1, 1, 2, 2]
    for event in told:
        signal = event.data_as(SignalChanged).signal
        assert (event.feedtype, event.summary, event.actorid) == (None, None, None)
        assert signal == last[event.subject].data_as(SignalChanged).signal
    # Nothing was counted: the next event has the next number.
    assert await service.rows("SELECT * FROM signals ORDER BY id") == before
    assert await service.rows("SELECT * FROM event_sequences") == []
    rows = await service.rows("SELECT key FROM outbox ORDER BY id DESC LIMIT 5")
    assert {row["key"].decode() for row in rows} == {str(row["entity_id"]) for row in before}


async def test_history_only_where_it_is_named(service: ServiceUnderTest) -> None:
    months = [f"2026-0{month}-01T00:00:00Z" for month in range(1, 4)]
    await detect(service, *(engine_signal(detected_at=at) for at in months))
    assert [part.name for part in PARTS if not part.optional] == ["metrics", "signals"]
    await publish(service, "signals", "history")
    told = [event.data_as(SignalChanged).signal for event in await service.events("signal.snapshot")]
    assert [signal.is_current for signal in told] == [True, False, False]


async def test_it_goes_on_where_it_was(service: ServiceUnderTest) -> None:
    await detect(service, *(engine_signal(facility_id=f"F{n}") for n in range(5)))
    progress = await publish(service, "signals")
    first = [event.subject for event in await service.events("signal.snapshot")]
    await publish(service, "signals", after=progress[1].place)
    assert [event.subject for event in await service.events("signal.snapshot")][5:] == first[4:]


async def test_metrics(service: ServiceUnderTest) -> None:
    body = {"display_name": "Occupancy", "polarity": "target_range", "target_range": {"low": 1, "high": 2}}
    async with service.client("admin") as client:
        for metric in ("c", "a", "b"):
            assert (await client.put(f"/api/metrics/{metric}", json=body)).status_code == 200
        await client.put("/api/metrics/b", json=body | {"unit": "%"})
    await publish(service, "metrics")
    told = await service.events("metric.snapshot")
    named = [(event.data_as(MetricChanged).metric_id, event.sequence) for event in told]
    assert named == [
        ("a", 1),
        ("b", 2),
        ("c", 1),
    ]
    last = (await service.events("metric.changed"))[-1]
    assert last.subject == told[1].subject
    data = told[1].data_as(MetricChanged)
    assert (data.unit, data.target_range, data.changed) == ("%", last.data_as(MetricChanged).target_range, [])


async def test_nothing_to_publish(service: ServiceUnderTest) -> None:
    progress = await publish(service, "metrics", "signals", "history")
    assert [(each.part, each.published, each.total) for each in progress] == [
        ("metrics", 0, 0),
        ("signals", 0, 0),
        ("history", 0, 0),
    ]
    assert await service.events() == []
