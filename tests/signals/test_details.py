"""A signal over time, how it was classified, and what came before it."""

from typing import Any
from uuid import uuid4

import pytest

from shared.events.topics import ENGINE_SIGNALS
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest


async def publish(service: ServiceUnderTest, *signals: dict[str, Any]) -> list[dict[str, Any]]:
    await service.consume("signals.ingest", *(message(ENGINE_SIGNALS, signal) for signal in signals))
    return await service.rows("SELECT * FROM signals ORDER BY detected_at")


async def get(service: ServiceUnderTest, path: str, **parameters: Any) -> dict[str, Any]:
    async with service.client("viewer") as client:
        answer = await client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_temporal_joins_the_months(service: ServiceUnderTest) -> None:
    [row] = await publish(
        service,
        engine_signal(
            metric_trend_timeline=[
                {"period": "2026-05", "value": None},
                {"period": "2026-06", "value": 0.2, "encounters": 8},
            ],
            peer_percentile_trends=[{"period": "2026-04", "p50": 0.1}, {"period": "2026-06", "p50": 0.2, "n": 9}],
            metadata_per_period=[{"period": "2026-06", "breaches": 4}],
            trend_direction="increasing",
        ),
    )
    body = await get(service, f"/api/signals/{row['id']}/temporal")
    assert body["trend_direction"] == "increasing"
    assert body["periods"] == [
        {"period": "2026-04", "value": None, "encounters": None, "peers": {"p50": 0.1}, "figures": None},
        {"period": "2026-05", "value": None, "encounters": None, "peers": None, "figures": None},
        {
            "period": "2026-06",
            "value": 0.2,
            "encounters": 8,
            "peers": {"p50": 0.2, "n": 9},
            "figures": {"breaches": 4},
        },
    ]


async def test_technical_details(service: ServiceUnderTest) -> None:
    [row] = await publish(service, engine_signal(metric_value=0.22, peer_mean=0.12, peer_std=0.05, period_count=12))
    body = await get(service, f"/api/signals/{row['id']}/technical-details")
    assert body["zscore"] == pytest.approx(2.0)
    assert body["magnitude_tier"] == "severe"
    assert body["simplified_inputs"]["aggregate_zscore"] == pytest.approx(2.0)
    calculation = body["simplified_severity_calculation"]
    steps = sum(step["adjustment"] for step in calculation["refinements"])
    assert calculation["base_severity"] + steps == calculation["final_severity"] == body["simplified_severity"]


async def test_history_is_earlier_detections_of_the_entity(service: ServiceUnderTest) -> None:
    rows = await publish(
        service,
        *(engine_signal(detected_at=f"2026-0{month}-01T00:00:00Z") for month in (1, 2, 3, 4, 5)),
        engine_signal(facility_id="other", detected_at="2026-01-15T00:00:00Z"),
    )
    mine = [str(row["id"]) for row in rows if row["facility_id"] != "other"]
    path = f"/api/signals/{mine[4]}/history"
    first = await get(service, path, limit=3)
    assert [row["id"] for row in first["signals"]] == [mine[3], mine[2], mine[1]]
    assert first["has_more"]
    rest = await get(service, path, limit=3, cursor=first["cursor"])
    assert ([row["id"] for row in rest["signals"]], rest["has_more"], rest["cursor"]) == ([mine[0]], False, None)
    middle = await get(service, f"/api/signals/{mine[2]}/history")
    assert [row["id"] for row in middle["signals"]] == [mine[1], mine[0]]


@pytest.mark.parametrize("what", ["temporal", "technical-details", "history"])
async def test_unknown_signal(service: ServiceUnderTest, what: str) -> None:
    async with service.client("viewer") as client:
        assert (await client.get(f"/api/signals/{uuid4()}/{what}")).status_code == 404
        assert (await client.get(f"/api/signals/{uuid4()}/{what}", params={"cursor": "?"})).status_code in (404, 422)
