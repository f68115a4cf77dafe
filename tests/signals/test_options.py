"""Filter options, facilities and summary: what is counted, narrowed, and shown."""

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import BaseModel

from services.signals import service_options
from services.signals.schemas_options import SEVERITY_BANDS, Facilities, FilterOptions, Summary
from shared.events.topics import ENGINE_SIGNALS
from shared.events.vocabulary import SignalType
from tests.signals.test_list import execute, publish
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest, user_id

LONG = "ü" * 255

_MODELS: dict[str, type[BaseModel]] = {"filter-options": FilterOptions, "facilities": Facilities, "summary": Summary}


async def read(service: ServiceUnderTest, what: str, **parameters: Any) -> dict[str, Any]:
    """An answer from counts that are up to date."""
    while await service_options.fold(service.session_maker):
        pass
    service.app.state.answers.clear()
    async with service.client("viewer") as client:
        answer = await client.get(f"/api/signals/{what}", params=parameters)
    assert answer.status_code == 200, answer.text
    _MODELS[what].model_validate_json(answer.content)
    body: dict[str, Any] = answer.json()
    return body


def values(options: list[dict[str, Any]]) -> dict[str | None, int]:
    return {option["value"]: option["count"] for option in options}


@pytest.fixture
async def varied(service: ServiceUnderTest) -> ServiceUnderTest:
    """Two facilities of one name in two systems, one with two ids, one without a system, values of every length."""
    common = {"simplified_signal_type": "baseline", "simplified_severity": 40}
    await publish(
        service,
        engine_signal(facility="Mercy", facility_id="M1", system_name="North, East", domain="Safety", **common),
        engine_signal(facility="Mercy", facility_id="M2", system_name="North, East", **common),
        engine_signal(
            facility="Mercy",
            facility_id="M3",
            system_name="South",
            simplified_signal_type="critical_trajectory",
            simplified_severity=100,
            entity_dimensions={"department": "1", "größe": "g" * 3000},
        ),
        engine_signal(facility=LONG, facility_id=None, system_name=None, sub_service_line="ICU"),
        engine_signal(
            canonical_node_id="other",
            facility=LONG,
            facility_id=None,
            system_name=LONG,
            service_line=LONG,
            percentile_rank=None,
            peer_std=None,
        ),
    )
    return service


async def test_options_of_every_filter(varied: ServiceUnderTest) -> None:
    await execute(
        varied,
        "INSERT INTO metrics (metric_id, display_name, polarity, event_sequence)"
        " VALUES ('breachRate', 'Four-hour breaches', 'lower_is_better', 1)",
    )
    me = user_id("viewer")
    await execute(varied, "INSERT INTO users VALUES (:me, 'Vera Viewer', true, 1)", me=me)
    await execute(
        varied,
        "UPDATE signals SET workflow_status = 'in_progress', assignee_id = :me WHERE facility_id = 'M3'",
        me=me,
    )
    options = await read(varied, "filter-options")
    assert (options["total_count"], options["unassigned_count"]) == (5, 4)
    assert options["domain"] == [
        {"value": "Effectiveness", "label": None, "count": 4},
        {"value": "Safety", "label": None, "count": 1},
    ]
    assert values(options["facility"]) == {"Mercy": 3, LONG: 2}
    assert options["facility_id"] == [{"value": f"M{number}", "label": "Mercy", "count": 1} for number in (1, 2, 3)]
    assert values(options["system_name"]) == {"North, East": 2, "South": 1, LONG: 1}
    assert values(options["service_line"]) == {"Emergency": 4, LONG: 1}
    assert values(options["sub_service_line"]) == {"ICU": 1}
    assert options["metric_id"] == [{"value": "breachRate", "label": "Four-hour breaches", "count": 5}]
    assert values(options["signal_type"]) == {"baseline": 4, "critical_trajectory": 1}
    assert values(options["magnitude_tier"]) == {"severe": 4}
    assert values(options["status"]) == {"new": 4, "in_progress": 1}
    assert options["assignee_id"] == [{"value": str(me), "label": "Vera Viewer", "count": 1}]
    assert options["dimensions"] == {
        "department": [{"value": "1", "label": None, "count": 1}],
        "größe": [{"value": "g" * 3000, "label": None, "count": 1}],
    }
    assert options["truncated"] == []


async def test_every_option_is_what_the_list_finds(varied: ServiceUnderTest) -> None:
    options = await read(varied, "filter-options")
    async with varied.client("viewer") as client:
        for name in set(options) - {"total_count", "unassigned_count", "truncated", "dimensions"}:
            for option in options[name]:
                if len(option["value"]) <= 500:
                    found = (await client.get("/api/signals", params={name: option["value"]})).json()
                    assert found["total_count"] == option["count"], (name, option)


async def test_a_filter_is_narrowed_by_the_others(varied: ServiceUnderTest) -> None:
    options = await read(varied, "filter-options", system_name=["North, East", "South"])
    assert options["total_count"] == 3
    assert values(options["facility"]) == {"Mercy": 3}
    assert values(options["domain"]) == {"Effectiveness": 2, "Safety": 1}
    assert values(options["system_name"]) == {"North, East": 2, "South": 1, LONG: 1}

    options = await read(varied, "filter-options", domain="Safety", system_name="South")
    assert options["total_count"] == 0
    assert options["facility"] == []
    assert values(options["domain"]) == {"Effectiveness": 1}
    assert values(options["system_name"]) == {"North, East": 1}


async def test_more_values_than_asked_for(varied: ServiceUnderTest) -> None:
    options = await read(varied, "filter-options", limit=1)
    assert values(options["facility"]) == {"Mercy": 3}
    assert options["unassigned_count"] == 5
    assert set(options["truncated"]) == {
        "domain",
        "facility",
        "facility_id",
        "system_name",
        "service_line",
        "signal_type",
    }
    exact = await read(varied, "filter-options", limit=2)
    assert set(exact["truncated"]) == {"facility_id", "system_name"}


async def test_facilities_by_system(varied: ServiceUnderTest) -> None:
    def facility(name: str, code: str | None) -> dict[str, Any]:
        return {"facility": name, "facility_id": code, "count": 1}

    assert await read(varied, "facilities") == {
        "systems": [
            {
                "system_name": "North, East",
                "count": 2,
                "facilities": [facility("Mercy", "M1"), facility("Mercy", "M2")],
            },
            {"system_name": "South", "count": 1, "facilities": [facility("Mercy", "M3")]},
            {"system_name": LONG, "count": 1, "facilities": [facility(LONG, None)]},
            {"system_name": None, "count": 1, "facilities": [facility(LONG, None)]},
        ],
        "facility_count": 5,
        "truncated": False,
    }
    narrowed = await read(varied, "facilities", q="mER", system_name="North, East", domain="Safety")
    assert narrowed["systems"] == [{"system_name": "North, East", "count": 1, "facilities": [facility("Mercy", "M1")]}]
    assert (await read(varied, "facilities", q="m3"))["facility_count"] == 1
    assert (await read(varied, "facilities", q="%"))["systems"] == []

    first = await read(varied, "facilities", limit=1)
    assert (first["systems"][0]["count"], first["facility_count"], first["truncated"]) == (2, 5, True)


async def test_summary(varied: ServiceUnderTest) -> None:
    await execute(varied, "UPDATE signals SET workflow_status = 'closed' WHERE facility_id = 'M1'")
    summary = await read(varied, "summary")
    assert (summary["total_count"], summary["open_count"], summary["unassigned_count"]) == (5, 4, 5)
    assert values(summary["by_domain"]) == {"Efficiency": 0, "Safety": 1, "Effectiveness": 4}
    assert {kind: count for kind, count in values(summary["by_signal_type"]).items() if count} == {
        "baseline": 4,
        "critical_trajectory": 1,
    }
    assert len(summary["by_signal_type"]) == len(SignalType)
    assert [(band["minimum"], band["maximum"], band["count"]) for band in summary["by_severity_band"]] == [
        (low, high, {91: 1, 26: 4}.get(low, 0)) for low, high in SEVERITY_BANDS
    ]
    assert values(summary["by_status"]) == {"new": 4, "assigned": 0, "in_progress": 0, "resolved": 0, "closed": 1}
    assert values(summary["by_magnitude_tier"])[None] == 1
    assert sum(values(summary["by_magnitude_tier"]).values()) == 5
    assert values(summary["by_trajectory_tier"])[None] == 5
    assert values((await read(varied, "summary", domain="Safety"))["by_domain"])["Effectiveness"] == 0


async def test_nothing_yet(service: ServiceUnderTest) -> None:
    assert (await read(service, "filter-options"))["facility"] == []
    assert await read(service, "facilities") == {"systems": [], "facility_count": 0, "truncated": False}
    assert (await read(service, "summary"))["total_count"] == 0


def test_the_bands_hold_every_severity_once() -> None:
    assert sorted(severity for low, high in SEVERITY_BANDS for severity in range(low, high + 1)) == list(range(101))


async def test_counts_follow_the_signals(service: ServiceUnderTest) -> None:
    """Redetected, corrected, recorded as history, worked on, deleted."""
    first = engine_signal(detected_at="2026-02-01T00:00:00Z", simplified_signal_type="baseline", simplified_severity=30)
    await publish(service, first, engine_signal(facility_id="other"))
    await publish(service, first | {"detected_at": "2026-03-01T00:00:00Z", "simplified_severity": 59})
    await publish(service, first | {"detected_at": "2026-01-01T00:00:00Z", "facility": "Old Name"})
    assert (await read(service, "summary"))["total_count"] == 2
    assert values((await read(service, "filter-options"))["facility"]) == {"Northfield General": 2}

    # Renamed by a correction, in the same statement as nothing else changes.
    await publish(service, engine_signal(facility_id="other", facility="Southfield"))
    assert values((await read(service, "filter-options"))["facility"]) == {"Northfield General": 1, "Southfield": 1}
    await execute(service, "UPDATE signals SET workflow_status = 'assigned', assignee_id = :id", id=uuid4())
    assert (await read(service, "summary"))["unassigned_count"] == 0
    await execute(service, "DELETE FROM signals WHERE facility = 'Southfield'")
    options = await read(service, "filter-options")
    assert (options["total_count"], values(options["facility"])) == (1, {"Northfield General": 1})
    # What nobody has any more leaves nothing behind.
    assert await service.rows("SELECT 1 FROM option_counts WHERE count = 0 OR value = 'Southfield'") == []
    assert await service.rows("SELECT 1 FROM option_deltas") == []


async def test_dimensions_of_any_shape_do_not_stop_a_statement(service: ServiceUnderTest) -> None:
    await publish(service, engine_signal())
    for shape in ("null", "[1]", "{}", '{"a": null}', '{"a": {"b": 1}}'):
        await execute(service, "UPDATE signals SET entity_dimensions = CAST(:shape AS jsonb)", shape=shape)
        await read(service, "filter-options")
    assert json.loads((await read(service, "filter-options"))["dimensions"]["a"][0]["value"]) == {"b": 1}


async def test_a_statement_appends_the_fewest_rows(service: ServiceUnderTest) -> None:
    """A batch of a hundred signals alike is counted as one change, and a change that counts nothing as none."""
    signals = [engine_signal(canonical_node_id=f"node {number}") for number in range(100)]
    await service.consume("signals.ingest", *(message(ENGINE_SIGNALS, signal) for signal in signals))
    appended = await service.rows("SELECT delta FROM option_deltas")
    assert {row["delta"] for row in appended} == {100}
    assert len(appended) == 12
    await execute(service, "UPDATE signals SET description = 'x', metric_value = 2")
    assert len(await service.rows("SELECT 1 FROM option_deltas")) == 12


async def test_an_answer_is_kept_for_a_moment_only(service: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    async def total(client: httpx.AsyncClient) -> int:
        count: int = (await client.get("/api/signals/summary")).json()["total_count"]
        return count

    now = 100.0
    monkeypatch.setattr("services.signals.service_answers.monotonic", lambda: now)
    async with service.client("viewer") as client:
        assert await total(client) == 0
        await publish(service, engine_signal())
        await service_options.fold(service.session_maker)
        assert await total(client) == 0
        now += 1.5
        assert await total(client) == 1


@pytest.mark.parametrize("what", ["filter-options", "facilities", "summary"])
async def test_bad_requests(service: ServiceUnderTest, what: str) -> None:
    async with service.client("viewer") as client:
        for wrong in ({"domain": "safety"}, {"system_name": ""}, {"system_name": "a\0"}, {"page": 1}, {"limit": 0}):
            answer = await client.get(f"/api/signals/{what}", params=wrong)
            assert answer.status_code == 422, wrong
    async with service.client(None) as client:
        assert (await client.get(f"/api/signals/{what}")).status_code == 401
