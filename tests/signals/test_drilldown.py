"""Children, parent, contributions and related signals."""

from typing import Any
from uuid import uuid4

import pytest

from shared.events.topics import ENGINE_SIGNALS
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest


async def publish(service: ServiceUnderTest, **signals: dict[str, Any]) -> dict[str, str]:
    """Publish named signals; their ids by name."""
    await service.consume(
        "signals.ingest",
        *(message(ENGINE_SIGNALS, engine_signal(description=name, **change)) for name, change in signals.items()),
    )
    return {row["description"]: str(row["id"]) for row in await service.rows("SELECT id, description FROM signals")}


async def get(service: ServiceUnderTest, path: str) -> dict[str, Any]:
    async with service.client("viewer") as client:
        answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def severity(value: int) -> dict[str, Any]:
    return {"simplified_signal_type": "baseline", "simplified_severity": value}


async def test_down_and_up(service: ServiceUnderTest) -> None:
    ids = await publish(
        service,
        total={},
        one={"entity_dimensions": {"department": "1"}} | severity(30),
        two={"entity_dimensions": {"department": "2"}} | severity(50),
        deeper={"entity_dimensions": {"department": "1", "shift": "night"}},
        elsewhere={"entity_dimensions": {"department": "1"}, "facility_id": "other"},
        metric={"entity_dimensions": {"department": "1"}, "metric_id": "losIndex"},
    )
    children = await get(service, f"/api/signals/{ids['total']}/children")
    assert [signal["description"] for signal in children["signals"]] == ["two", "one"]
    for child, parent in (("one", "total"), ("two", "total"), ("deeper", "one")):
        body = await get(service, f"/api/signals/{ids[child]}/parent")
        assert body["signal"]["description"] == parent
    assert await get(service, f"/api/signals/{ids['total']}/parent") == {"signal": None}
    assert await get(service, f"/api/signals/{ids['two']}/children") == {"signals": []}


async def test_children_are_current(service: ServiceUnderTest) -> None:
    ids = await publish(
        service,
        total={"facility_id": None},
        old={"facility_id": None, "entity_dimensions": {"department": "1"}, "detected_at": "2026-06-01T00:00:00Z"},
        new={"facility_id": None, "entity_dimensions": {"department": "1"}},
    )
    body = await get(service, f"/api/signals/{ids['total']}/children")
    assert [signal["description"] for signal in body["signals"]] == ["new"]


async def test_contributions_add_up(service: ServiceUnderTest) -> None:
    ids = await publish(
        service,
        total={"metric_value": 0.2, "peer_mean": 0.1, "encounters": 1000},
        one={"entity_dimensions": {"department": "1"}, "metric_value": 0.3, "encounters": 1},
        two={"entity_dimensions": {"department": "2"}, "metric_value": 0.15, "encounters": 2},
        three={"entity_dimensions": {"department": "3"}, "metric_value": 0.05},
    )
    body = await get(service, f"/api/signals/{ids['total']}/contributions")
    assert body["excess"] == 0.1
    assert [(part["entity_dimensions"]["department"], part["contribution"]) for part in body["contributions"]] == [
        ("1", 0.0667),
        ("2", 0.0333),
        ("3", 0.0),
    ]
    assert body["unexplained"] == 0.0
    assert sum(part["contribution"] for part in body["contributions"]) + body["unexplained"] == pytest.approx(0.1)
    nothing = await get(service, f"/api/signals/{ids['one']}/contributions")
    assert (nothing["contributions"], nothing["unexplained"]) == ([], nothing["excess"])


async def test_related_signals(service: ServiceUnderTest) -> None:
    ids = await publish(
        service,
        mine={},
        better={"metric_id": "a"} | severity(30),
        worse={"metric_id": "b"} | severity(50),
        line={"metric_id": "c", "service_line": "Surgery"},
        place={"metric_id": "d", "facility": "Elsewhere", "facility_id": "E"},
    )
    body = await get(service, f"/api/signals/{ids['mine']}/related")
    assert [signal["description"] for signal in body["signals"]] == ["worse", "better"]


@pytest.mark.parametrize("what", ["children", "parent", "related", "contributions"])
async def test_unknown_signal(service: ServiceUnderTest, what: str) -> None:
    async with service.client("viewer") as client:
        assert (await client.get(f"/api/signals/{uuid4()}/{what}")).status_code == 404
