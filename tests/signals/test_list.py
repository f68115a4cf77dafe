"""The list of signals: filters, sorts with ties and missing values, pages by cursor and by offset."""

import base64
from itertools import pairwise
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from services.signals.schemas import SignalPage
from shared.events.topics import ENGINE_SIGNALS
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest, user_id

SORT_FIELDS = {
    "detected_at": "detected_at",
    "priority": "simplified_severity",
    "metric_id": "metric_id",
    "facility": "facility",
}


async def publish(service: ServiceUnderTest, *signals: dict[str, Any]) -> None:
    await service.consume("signals.ingest", *(message(ENGINE_SIGNALS, signal) for signal in signals))


async def execute(service: ServiceUnderTest, sql: str, **parameters: Any) -> None:
    async with service.session_maker() as session, session.begin():
        await session.execute(text(sql), parameters)


async def read(client: httpx.AsyncClient, **parameters: Any) -> dict[str, Any]:
    answer = await client.get("/api/signals", params=parameters)
    assert answer.status_code == 200, answer.text
    SignalPage.model_validate_json(answer.content)
    page: dict[str, Any] = answer.json()
    return page


async def facilities(client: httpx.AsyncClient, **parameters: Any) -> list[str]:
    return sorted(signal["facility"] for signal in (await read(client, limit=100, **parameters))["signals"])


@pytest.fixture
async def many(service: ServiceUnderTest) -> ServiceUnderTest:
    """36 current signals with ties in every sort, some without a severity, and four that are history."""
    signals = [
        engine_signal(
            canonical_node_id=f"node {number}",
            facility=["Zürich", "Northfield", "åland", "a, b"][number % 4],
            facility_id=None if number % 5 == 0 else f"F{number % 4}",
            metric_id=["breachRate", "losIndex", "Readmission"][number % 3],
            detected_at=f"2026-0{1 + number % 4}-01T00:00:00Z",
            simplified_signal_type="baseline",
            simplified_severity=[30, 40, 50][number % 3],
        )
        for number in range(36)
    ]
    newer = [signal | {"detected_at": "2026-06-01T00:00:00Z"} for signal in signals[:4]]
    await publish(service, *signals, *newer)
    await execute(service, "UPDATE signals SET simplified_severity = NULL WHERE canonical_node_id LIKE 'node 1%'")
    return service


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", SORT_FIELDS)
async def test_pages_by_cursor_and_offset_are_the_whole_list_in_order(
    many: ServiceUnderTest, sort: str, order: str, history: bool
) -> None:
    asked = {"sort_by": sort, "sort_order": order, "include_history": history}
    count = 40 if history else 36
    async with many.client("viewer") as client:
        for limit in (1, 7, 36, 100):
            walked, cursor = [], None
            while True:
                page = await read(client, limit=limit, **asked, **({"cursor": cursor} if cursor else {}))
                walked += page["signals"]
                assert (page["total_count"], page["total_is_capped"]) == (count, False)
                if not page["has_more"]:
                    break
                cursor = page["cursor"]
            by_offset = []
            for offset in range(0, count + limit, limit):
                page = await read(client, limit=limit, offset=offset, **asked)
                assert page["total_count"] == count
                by_offset += page["signals"]
            assert [row["id"] for row in by_offset] == [row["id"] for row in walked]
            assert len({row["id"] for row in walked}) == count

    values = [row[SORT_FIELDS[sort]] for row in walked]
    present = [value for value in values if value is not None]
    assert values[len(present) :] == [None] * (len(values) - len(present))
    if sort in ("detected_at", "priority"):  # text is in the database's own order
        assert present == sorted(present, reverse=order == "desc")
    for earlier, later in pairwise(walked):
        if earlier[SORT_FIELDS[sort]] == later[SORT_FIELDS[sort]]:
            ties = [(row["detected_at"], row["id"]) for row in (earlier, later)]
            assert (ties[0] > ties[1]) == (order == "desc")


async def test_a_walk_while_signals_arrive_neither_skips_nor_repeats(many: ServiceUnderTest) -> None:
    async with many.client("viewer") as client:
        before = {row["id"] for row in (await read(client, limit=100))["signals"]}
        walked, cursor = [], None
        for number in range(100):
            page = await read(client, limit=5, sort_by="priority", **({"cursor": cursor} if cursor else {}))
            walked += [row["id"] for row in page["signals"]]
            if not page["has_more"]:
                break
            cursor = page["cursor"]
            await publish(many, engine_signal(facility=f"late {number}", facility_id=f"late {number}"))
    assert len(walked) == len(set(walked))
    assert before <= set(walked)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"domain": "Safety"}, "C"),
        ({"domain": ["Safety", "Efficiency"]}, "BC"),
        ({"facility": "B"}, "B"),
        ({"facility": ["A", "C"]}, "AC"),
        ({"facility_id": "id B"}, "B"),
        ({"system_name": "North, East"}, "B"),
        ({"service_line": "Emergency"}, "AB"),
        ({"sub_service_line": "😀 unit"}, "C"),
        ({"metric_id": ["losIndex", "unknown"]}, "C"),
        ({"signal_type": "suspect_data"}, "A"),
        ({"signal_type": ["suspect_data", "critical_trajectory"]}, "AB"),
        ({"min_severity": 50}, "AB"),
        ({"min_severity": 51}, "B"),
        ({"min_severity": 0}, "ABC"),
        ({"min_severity": 95}, "B"),
        ({"min_severity": 96}, ""),
        ({"magnitude_tier": "critical"}, "B"),
        ({"magnitude_tier": ["critical", "severe"]}, "AB"),
        ({"status": "new"}, "AB"),
        ({"status": "in_progress"}, "C"),
        ({"status": ["new", "in_progress"]}, "ABC"),
        ({"assignee_id": "me"}, "C"),
        ({"assignee_id": [str(uuid4()), "me"]}, "C"),
        ({"assignee_id": str(uuid4())}, ""),
        ({"unassigned": True}, "AB"),
        ({"unassigned": False}, "C"),
        ({"detected_from": "2026-02-01T00:00:00Z"}, "BC"),
        ({"detected_to": "2026-02-01T00:00:00Z"}, "A"),
        ({"detected_from": "2026-01-01T01:00:00+01:00", "detected_to": "2026-02-01T00:00:01Z"}, "AB"),
        ({"dimension.department": "1"}, "B"),
        ({"dimension.department": ["1", "2"]}, "BC"),
        ({"dimension.department": ["1", "2"], "dimension.größe": '50% \\ "x"'}, "C"),
        ({"dimension.other": "1"}, ""),
        ({"q": "HOURS"}, "AB"),
        ({"q": "100%_\\"}, "C"),
        ({"q": "losind"}, "C"),
        ({"q": "length of stay"}, "C"),
        ({"q": "%"}, ""),  # without three letters or digits in a row only names are looked through
        ({"q": "rs"}, ""),
        ({"q": "b"}, "AB"),
        ({"q": "gtH OF"}, "C"),
        ({"q": "our hou"}, "AB"),
        ({"q": "nothing like it"}, ""),
        ({"facility": ["A", "B"], "domain": ["Efficiency", "Safety"]}, "B"),
    ],
)
async def test_filters(service: ServiceUnderTest, parameters: dict[str, Any], expected: str) -> None:
    await publish(
        service,
        engine_signal(
            facility="A",
            facility_id=None,
            suppressed=True,
            percentile_rank=95,
            peer_std=None,
            detected_at="2026-01-01T00:00:00Z",
            system_name="N" * 255,
        ),
        engine_signal(
            facility="B",
            facility_id="id B",
            domain="Efficiency",
            system_name="North, East",
            simplified_signal_type="critical_trajectory",
            simplified_severity=95,
            percentile_rank=99,
            detected_at="2026-02-01T00:00:00Z",
            entity_dimensions={"department": "1"},
        ),
        engine_signal(
            facility="C",
            facility_id="id C",
            domain="Safety",
            service_line="Surgery",
            sub_service_line="😀 unit",
            metric_id="losIndex",
            description="100%_\\ sure",
            simplified_signal_type="sustained_excellence",
            simplified_severity=0,
            percentile_rank=None,
            peer_std=None,
            detected_at="2026-03-01T00:00:00Z",
            entity_dimensions={"department": "2", "größe": '50% \\ "x"'},
            group_value="g" * 500,
        ),
    )
    await execute(
        service,
        "INSERT INTO metrics (metric_id, display_name, polarity, event_sequence)"
        " VALUES ('losIndex', 'Length of stay', 'lower_is_better', 1)",
    )
    await execute(
        service,
        "UPDATE signals SET workflow_status = 'in_progress', assignee_id = :me WHERE facility = 'C'",
        me=user_id("viewer"),
    )
    async with service.client("viewer") as client:
        assert await facilities(client, **parameters) == list(expected)
        assert await facilities(client, **parameters, sort_by="priority", include_history=True) == list(expected)


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [
        ({"domain": "safety"}, "/query/domain/0"),
        ({"signal_type": "urgent"}, "/query/signal_type/0"),
        ({"magnitude_tier": "huge"}, "/query/magnitude_tier/0"),
        ({"status": "open"}, "/query/status/0"),
        ({"sort_by": "severity"}, "/query/sort_by"),
        ({"sort_order": "up"}, "/query/sort_order"),
        ({"limit": 0}, "/query/limit"),
        ({"limit": 101}, "/query/limit"),
        ({"offset": 10001}, "/query/offset"),
        ({"offset": -1}, "/query/offset"),
        ({"min_severity": 101}, "/query/min_severity"),
        ({"min_severity": "1e99"}, "/query/min_severity"),
        ({"detected_from": "2026-01-01T00:00:00"}, "/query/detected_from"),
        ({"detected_to": "1735689600"}, "/query/detected_to"),
        ({"assignee_id": "you"}, "/query/assignee_id"),
        ({"facility": "a\0b"}, "/query/facility/0"),
        ({"dimension.x": "a\0b"}, "/query/dimension.x"),
        ({"dimension.": "a"}, "/query/dimension."),
        ({"q": ""}, "/query/q"),
        ({"page": 2}, "/query/page"),
        ({"cursor": "x"}, "/query/cursor"),
        (
            {"cursor": base64.urlsafe_b64encode(b'["priority","desc",5,"2026-01-01T00:00:00Z",1]').decode()},
            "/query/cursor",
        ),
        ({"cursor": "a" * 1001}, "/query/cursor"),
    ],
)
async def test_bad_parameters_are_named(service: ServiceUnderTest, parameters: dict[str, Any], pointer: str) -> None:
    async with service.client("viewer") as client:
        answer = await client.get("/api/signals", params=parameters)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_cursor_belongs_to_its_sort(many: ServiceUnderTest) -> None:
    async with many.client("viewer") as client:
        cursor = (await read(client, limit=5, sort_by="facility"))["cursor"]
        assert cursor.replace("-", "").replace("_", "").isalnum()
        others: list[dict[str, Any]] = [
            {"sort_by": "metric_id"},
            {"sort_by": "priority"},
            {"sort_by": "facility", "sort_order": "asc"},
            {"sort_by": "facility", "offset": 3},
        ]
        for other in others:
            answer = await client.get("/api/signals", params={"cursor": cursor} | other)
            assert answer.status_code == 422


async def test_the_count_stops_at_ten_thousand(service: ServiceUnderTest) -> None:
    await execute(
        service,
        """
        INSERT INTO signals (canonical_node_id, metric_id, domain, facility, service_line, description, metric_value,
                             detected_at, entity_dimensions_hash, entity_id, is_current, event_sequence)
        SELECT n::text, 'm', 'Safety', CASE WHEN n > 10000 THEN 'b' ELSE 'a' END, 's', 'd', 1, now(), '',
               gen_random_uuid(), true, 1
        FROM generate_series(1, 10001) AS n
        """,
    )
    async with service.client("viewer") as client:
        capped = await read(client, limit=1)
        assert (capped["total_count"], capped["total_is_capped"]) == (10_000, True)
        exact = await read(client, limit=1, facility="a")
        assert (exact["total_count"], exact["total_is_capped"]) == (10_000, False)
        last = await read(client, limit=100, offset=10_000)
        assert (len(last["signals"]), last["has_more"], last["total_is_capped"]) == (1, False, True)


async def test_an_item_has_what_the_list_shows(service: ServiceUnderTest) -> None:
    await publish(service, engine_signal(entity_dimensions={"department": "1"}))
    await execute(
        service,
        "UPDATE signals SET workflow_status = 'closed', assignee_id = :id,"
        " closed_at = detected_at + interval '36 hours'",
        id=user_id("someone"),
    )
    await execute(
        service,
        "INSERT INTO users (id, name, is_active, sequence) VALUES (:id, 'Nadia Nursing', true, 1)",
        id=user_id("someone"),
    )
    async with service.client("viewer") as client:
        [item] = (await read(client))["signals"]
    assert item["assignee"] == {"id": str(user_id("someone")), "name": "Nadia Nursing"}
    assert (item["workflow_status"], item["days_open"]) == ("closed", 1)
    assert item["metric_value"] == 0.21
    assert item["detected_at"] == "2026-07-01T00:00:00+00:00"
    assert item["entity_dimensions"] == {"department": "1"}


async def test_readers_need_a_token(service: ServiceUnderTest) -> None:
    async with service.client(None) as client:
        assert (await client.get("/api/signals", params={"limit": 0})).status_code == 401
        assert (await client.get("/api/signals/not-an-id")).status_code == 401
