"""One signal: everything that is stored, its workflow, its tag."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.signals.schemas import SignalDetail
from shared.events.topics import ENGINE_SIGNALS
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest


async def publish(service: ServiceUnderTest, *signals: dict[str, Any]) -> list[dict[str, Any]]:
    await service.consume("signals.ingest", *(message(ENGINE_SIGNALS, signal) for signal in signals))
    return await service.rows("SELECT * FROM signals ORDER BY detected_at")


async def test_detail_has_every_column(service: ServiceUnderTest) -> None:
    sent = engine_signal(
        entity_dimensions={"department": "1"},
        metric_trend_timeline=[{"period": "2026-06", "value": 0.1, "encounters": 7}],
        metadata_per_period=[{"period": "2026-06", "note": "Ü"}],
        peer_percentile_trends=[{"period": "2026-06", "p50": 0.1}],
        annual_excess_cost=1234.565,
        novelty=True,
    )
    [row] = await publish(service, sent)
    async with service.client("viewer") as client:
        answer = await client.get(f"/api/signals/{row['id']}")

    assert answer.status_code == 200
    SignalDetail.model_validate_json(answer.content)
    body = answer.json()
    for name in ("metric_trend_timeline", "metadata_per_period", "peer_percentile_trends", "entity_dimensions"):
        assert body[name] == sent[name]
    assert body["annual_excess_cost"] == 1234.56
    assert body["extra"] == {"novelty": True}
    assert body["simplified_reasoning"]
    assert body["simplified_severity_calculation"]["final_severity"] == body["simplified_severity"]
    assert body["current_signal_id"] == body["id"] == str(row["id"])
    assert body["links"]["history"] == f"/api/signals/{row['id']}/history"
    columns = {name for name in row if not name.endswith(("_sequence", "_edited_by"))}
    hidden = {"content_hash", "engine_inputs", "engine_polarity", "assignment_id", "assignee_id", "closed_at"}
    assert columns - hidden <= set(body)


async def test_the_tag_changes_with_the_signal(service: ServiceUnderTest) -> None:
    [row] = await publish(service, engine_signal())
    async with service.client("viewer") as client:
        tags = [(await client.get(f"/api/signals/{row['id']}")).headers["etag"]]
        await publish(service, engine_signal())
        tags.append((await client.get(f"/api/signals/{row['id']}")).headers["etag"])
        await publish(service, engine_signal(encounters=3))
        tags.append((await client.get(f"/api/signals/{row['id']}")).headers["etag"])
        await publish(service, engine_signal(detected_at="2026-08-01T00:00:00Z"))
        tags.append((await client.get(f"/api/signals/{row['id']}")).headers["etag"])
    assert tags[0] == tags[1]
    assert len(set(tags)) == 3
    assert all(tag.startswith('"') and tag.endswith('"') for tag in tags)


async def test_days_open_count_from_the_detection(service: ServiceUnderTest) -> None:
    now = datetime.now(UTC)
    rows = await publish(
        service,
        engine_signal(facility_id="A", detected_at=(now - timedelta(days=3, hours=1)).isoformat()),
        engine_signal(facility_id="B", detected_at=(now + timedelta(hours=20)).isoformat()),
    )
    async with service.client("viewer") as client:
        days = [(await client.get(f"/api/signals/{row['id']}")).json()["days_open"] for row in rows]
    assert days == [3, 0]


@pytest.mark.parametrize(("signal_id", "status"), [(str(UUID(int=1)), 404), ("42", 422)])
async def test_unknown_ids(service: ServiceUnderTest, signal_id: str, status: int) -> None:
    async with service.client("viewer") as client:
        answer = await client.get(f"/api/signals/{signal_id}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
