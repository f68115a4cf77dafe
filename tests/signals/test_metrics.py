"""The metric registry."""

from typing import Any

import pytest

from shared.events.signals import MetricChanged, TargetRange
from shared.events.topics import ENGINE_SIGNALS
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest

BODY = {"display_name": "Occupancy", "domain": "Efficiency", "unit": "%", "polarity": "target_range"}


async def test_register_change_and_read(service: ServiceUnderTest) -> None:
    async with service.client("admin") as client:
        made = await client.put("/api/metrics/occupancy", json=BODY)
        assert made.status_code == 200, made.text
        tag = made.headers["etag"]
        same = await client.put("/api/metrics/occupancy", json=BODY, headers={"if-match": tag})
        assert same.headers["etag"] == tag
        bounds = {"low": 80, "high": 92.12345}
        changed = await client.put(
            "/api/metrics/occupancy", json=BODY | {"target_range": bounds}, headers={"if-match": tag}
        )
        assert changed.json()["target_range"] == {"low": 80.0, "high": 92.1234}
        stale = await client.put("/api/metrics/occupancy", json=BODY, headers={"if-match": tag})
        assert stale.status_code == 412
        new = await client.put("/api/metrics/other", json=BODY, headers={"if-match": tag})
        assert new.status_code == 412
    async with service.client("viewer") as client:
        assert (await client.get("/api/metrics/occupancy")).json() == changed.json()
        assert (await client.get("/api/metrics")).json() == {"metrics": [changed.json()]}
        assert (await client.get("/api/metrics/other")).status_code == 404
        assert (await client.put("/api/metrics/occupancy", json=BODY)).status_code == 403

    events = await service.events("metric.changed")
    assert [event.sequence for event in events] == [1, 2]
    assert events[0].subject == events[1].subject
    data = events[1].data_as(MetricChanged)
    assert (data.target_range, data.changed) == (TargetRange(80.0, 92.1234), ["target_range"])


async def test_the_same_key_changes_it_once(service: ServiceUnderTest) -> None:
    async with service.client("admin") as client:
        headers = {"idempotency-key": "k1"}
        first = await client.put("/api/metrics/occupancy", json=BODY, headers=headers)
        await client.put("/api/metrics/occupancy", json=BODY | {"unit": "beds"})
        again = await client.put("/api/metrics/occupancy", json=BODY, headers=headers)
        assert (again.status_code, again.json()) == (200, first.json())
        assert again.headers["etag"] == first.headers["etag"]
        assert (await client.get("/api/metrics/occupancy")).json()["unit"] == "beds"
        other = await client.put("/api/metrics/occupancy", json=BODY | {"unit": "x"}, headers=headers)
        assert other.json()["code"] == "idempotency_key_reused"
    assert len(await service.events("metric.changed")) == 2


async def test_signals_are_classified_by_it(service: ServiceUnderTest) -> None:
    async with service.client("admin") as client:
        await client.put("/api/metrics/occupancy", json=BODY | {"target_range": {"low": 80, "high": 90}})
    await service.consume(
        "signals.ingest",
        message(
            ENGINE_SIGNALS,
            engine_signal(metric_id="occupancy", metric_value=85, peer_mean=95, peer_std=5, percentile_rank=50),
        ),
    )
    [row] = await service.rows("SELECT * FROM signals")
    assert row["polarity"] == "target_range"
    assert row["simplified_inputs"]["aggregate_zscore"] == -1.0


@pytest.mark.parametrize(
    "change",
    [
        {"polarity": "up"},
        {"display_name": ""},
        {"display_name": "a\0"},
        {"unit": "x" * 51},
        {"domain": "Costs"},
        {"target_range": {"low": 2, "high": 1}},
        {"target_range": {"low": 1e9, "high": 1e10}},
        {"target_range": {"low": "1", "high": 2}},
        {"target_range": {"low": 1, "high": 2}, "polarity": "lower_is_better"},
        {"more": 1},
    ],
)
async def test_refused_changes(service: ServiceUnderTest, change: dict[str, Any]) -> None:
    async with service.client("admin") as client:
        answer = await client.put("/api/metrics/occupancy", json=BODY | change)
        assert answer.status_code == 422
        assert (await client.put("/api/metrics/" + "x" * 101, json=BODY)).status_code == 422
        assert (await client.get("/api/metrics/a%00b")).status_code == 422
    assert await service.events() == []
