"""Walking through the list while signals are really being stored: nothing that was there all the time is missed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from services.signals.consumers import engine_signals
from services.signals.main import create
from services.signals.settings import SignalsSettings
from shared.db import SessionMaker, create_engine
from shared.events.topics import ENGINE_SIGNALS
from shared.kafka import BatchProcessor
from tests.signals.test_list import SORT_FIELDS
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest, _know_the_test_key

GROUP = "ü😀" * 250
"""A group's value of 500 characters."""

_LOWEST: dict[str, Any] = {
    "detected_at": "2025-01-01T00:00:00Z",
    "simplified_severity": 26,
    "facility": "!",
    "metric_id": "!",
}
_HIGHEST: dict[str, Any] = {
    "detected_at": "2026-06-01T00:00:00Z",
    "simplified_severity": 59,
    "facility": "𐍈",
    "metric_id": "z",
}
FIRST = {"asc": _LOWEST, "desc": _HIGHEST}
"""What comes before every other signal in any sort, by the sort's order."""
LAST = {"asc": _HIGHEST, "desc": _LOWEST}


@pytest.fixture
async def live(committing: SessionMaker, settings: SignalsSettings) -> AsyncIterator[ServiceUnderTest]:
    """The service in a database of its own, where requests and batches are transactions of their own."""
    engine = create_engine(settings, "signals")
    async with engine.connect() as connection:
        service = ServiceUnderTest(create(settings), settings, connection)
        service.session_maker = service.app.state.session_maker = committing
        await _know_the_test_key(service)
        yield service
    await engine.dispose()


def a_signal(number: int, **changes: Any) -> dict[str, Any]:
    """One of many with ties in everything that is sorted by."""
    values = {
        "canonical_node_id": f"node {number}",
        "facility": ["Zürich", "Northfield", "åland", "a, b", "Æ" * 255][number % 5],
        "facility_id": None if number % 3 == 0 else f"F{number % 4}",
        "metric_id": ["breachRate", "losIndex", "Readmission"][number % 3],
        "detected_at": f"2026-0{1 + number % 4}-01T00:00:00Z",
        "percentile_rank": [None, 50, 99][number % 3],
        "peer_std": None,
        "group_value": GROUP,
        "groupby_label": "Ärzte",
        "entity_dimensions": {"gruppe": GROUP},
        "simplified_signal_type": "baseline",
        "simplified_severity": [30, 40, 50][number % 3],
    }
    return engine_signal(**(values | changes))


async def at_once() -> None:
    """Wait for nothing."""


async def walk(
    service: ServiceUnderTest, between: Callable[[], Awaitable[None]] = at_once, **parameters: Any
) -> list[str]:
    """The ids of all pages by cursor; `between` is awaited before each next page."""
    walked, cursor = [], None
    async with service.client("viewer") as client:
        while True:
            asked = parameters | ({"cursor": cursor} if cursor else {})
            answer = await client.get("/api/signals", params=asked)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            walked += [row["id"] for row in page["signals"]]
            if not page["has_more"]:
                return walked
            cursor = page["cursor"]
            await between()


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", SORT_FIELDS)
async def test_what_was_there_all_the_time_is_seen_once(
    live: ServiceUnderTest, settings: SignalsSettings, sort: str, order: str
) -> None:
    process = BatchProcessor("signals", engine_signals(settings), live.session_maker)
    await process([message(ENGINE_SIGNALS, a_signal(number)) for number in range(60)])
    # Other entities, which newer detections replace during the walk.
    await process([message(ENGINE_SIGNALS, a_signal(number)) for number in range(1000, 1020)])
    async with live.session_maker() as session, session.begin():
        await session.execute(
            text("UPDATE signals SET simplified_severity = NULL WHERE canonical_node_id SIMILAR TO 'node 1[0-9]?'")
        )
    there = {
        str(row["id"])
        for row in await live.rows("SELECT id FROM signals WHERE length(canonical_node_id) < length('node 1000')")
    }
    done, arrived = asyncio.Event(), asyncio.Event()
    stored = 0

    async def arrive() -> None:
        nonlocal stored
        while not done.is_set():
            new = [a_signal(2000 + stored + number) for number in range(3)]
            newer = a_signal(1000 + stored % 20, detected_at=f"2026-05-01T00:00:{stored % 60:02}Z")
            await process([message(ENGINE_SIGNALS, signal) for signal in (*new, newer)])
            stored += 3
            arrived.set()

    async def some_have_come() -> None:
        arrived.clear()
        await asyncio.wait_for(arrived.wait(), 20)

    arriving = asyncio.create_task(arrive())
    try:
        for limit in (7, 20, 33):
            before = stored
            walked = await walk(live, some_have_come, sort_by=sort, sort_order=order, limit=limit)
            assert stored > before
            assert len(walked) == len(set(walked))
            assert there <= set(walked)
    finally:
        done.set()
        await arriving
    assert await live.dead_letters() == []


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", SORT_FIELDS)
async def test_pages_by_cursor_beside_what_arrives_on_both_sides(
    live: ServiceUnderTest, settings: SignalsSettings, sort: str, order: str
) -> None:
    """After each page one comes before all others and one behind them: the first is not met, nor is a place lost."""
    process = BatchProcessor("signals", engine_signals(settings), live.session_maker)
    await process([message(ENGINE_SIGNALS, a_signal(number)) for number in range(60)])
    there = {str(row["id"]) for row in await live.rows("SELECT id FROM signals")}
    walked: list[str] = []
    asked: dict[str, Any] = {"sort_by": sort, "sort_order": order, "limit": 7}
    async with live.client("viewer") as client:
        for number in range(20):
            page = (await client.get("/api/signals", params=asked)).json()
            walked += [row["id"] for row in page["signals"]]
            if not page["has_more"]:
                break
            asked["cursor"] = page["cursor"]
            before = a_signal(4000 + number, **FIRST[order])
            behind = a_signal(5000 + number, **LAST[order])
            await process([message(ENGINE_SIGNALS, before), message(ENGINE_SIGNALS, behind)])
    assert not page["has_more"]
    assert len(walked) == len(set(walked))
    assert there <= set(walked)
    came = {row["canonical_node_id"]: str(row["id"]) for row in await live.rows("SELECT * FROM signals")}
    assert not {came.get(f"node {4000 + number}") for number in range(20)} & set(walked)
    assert came["node 5000"] in walked


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", SORT_FIELDS)
async def test_pages_by_offset_beside_what_arrives_behind_them(
    live: ServiceUnderTest, settings: SignalsSettings, sort: str, order: str
) -> None:
    """An offset counts rows, so that it can only hold where nothing comes before it."""
    process = BatchProcessor("signals", engine_signals(settings), live.session_maker)
    await process([message(ENGINE_SIGNALS, a_signal(number)) for number in range(60)])
    there = [str(row["id"]) for row in await live.rows("SELECT id FROM signals")]
    walked: list[str] = []
    async with live.client("viewer") as client:
        for page in range(9):
            asked: dict[str, Any] = {"sort_by": sort, "sort_order": order, "limit": 7, "offset": 7 * page}
            walked += [row["id"] for row in (await client.get("/api/signals", params=asked)).json()["signals"]]
            await process([message(ENGINE_SIGNALS, a_signal(3000 + page, **LAST[order]))])
    assert len(walked) == len(set(walked))
    assert set(there) <= set(walked)


@pytest.mark.parametrize("sort", SORT_FIELDS)
@pytest.mark.parametrize(
    "parameters",
    [
        {"dimension.gruppe": GROUP},
        {"facility": ["Zürich", "a, b", "Æ" * 255], "facility_id": ["F0", "F1", "F2", "F3"]},
        {"facility_id": ["F1", "F3"], "domain": ["Effectiveness", "Safety"]},
        {"system_name": ["Süd, Ost"], "q": "hours"},
        {"system_name": ["Süd, Ost"], "domain": "Effectiveness"},
        {"magnitude_tier": ["critical", "severe"]},
        {"signal_type": ["baseline", "critical_trajectory"], "status": "new", "unassigned": True},
    ],
    ids=lambda parameters: "+".join(parameters),
)
async def test_filters_in_every_sort(service: ServiceUnderTest, parameters: dict[str, Any], sort: str) -> None:
    """Each filter finds the same rows in every sort, by pages, in both orders, and as many as the total says."""
    signals = [a_signal(number, system_name=["Süd, Ost", None][number % 2]) for number in range(40)]
    await service.consume("signals.ingest", *(message(ENGINE_SIGNALS, signal) for signal in signals))
    async with service.client("viewer") as client:
        whole = (await client.get("/api/signals", params=parameters | {"limit": 100})).json()
    expected = {row["id"] for row in whole["signals"]}
    assert expected
    assert whole["total_count"] == len(expected)
    assert all(row["group_value"] == GROUP and row["groupby_label"] == "Ärzte" for row in whole["signals"])
    down = await walk(service, sort_by=sort, sort_order="desc", limit=4, **parameters)
    up = await walk(service, sort_by=sort, sort_order="asc", limit=4, **parameters)
    assert set(down) == expected
    assert up == down[::-1]
