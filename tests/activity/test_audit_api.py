"""The audit log as an auditor gets it: pages, export and gaps; for admins only."""

import csv
import io
import json
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.activity import repository_export as exported
from services.activity import service_audit
from shared.events.topics import COMPASS_AUTH
from tests.activity.events import event, messages, without
from tests.support.service import ServiceUnderTest

# The same in every worker: they are part of the tests' names.
ACTOR, SIGNAL = UUID(int=1), UUID(int=2)
EVENTS = [
    event(0, subject=SIGNAL),
    event(1, subject=SIGNAL, sequence=2, type="compass.signal.corrected.v1"),
    without("feedtype", event(2, source="/services/auth", type="compass.login.failed.v1", actorid=ACTOR)),
    event(3, data={"text": 'a "quoted", line\nand \u2028 Größe'}, summary="=1+1"),
    event(4, actorid=ACTOR),
]


@pytest.fixture
async def filled(service: ServiceUnderTest) -> ServiceUnderTest:
    await service.consume("activity.auth", *messages(*EVENTS, topic=COMPASS_AUTH))
    return service


async def get(service: ServiceUnderTest, path: str) -> dict[str, Any]:
    async with service.client("admin") as client:
        answer = await client.get(f"/api/audit{path}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_an_entry_is_the_event_and_its_place_in_the_chain(filled: ServiceUnderTest) -> None:
    entry = (await get(filled, "?limit=3"))["entries"][2]
    (row,) = await filled.rows("SELECT hash, recorded_at FROM audit_log WHERE position = 3")
    assert entry.pop("recorded_at") == row["recorded_at"].isoformat().replace("+00:00", "Z")
    assert entry == {
        "position": 3,
        "event_id": EVENTS[2]["id"],
        "source": "/services/auth",
        "subject": EVENTS[2]["subject"],
        "sequence": 1,
        "type": "compass.login.failed.v1",
        "time": "2026-07-01T09:00:02Z",
        "actor_id": str(ACTOR),
        "feed_type": None,
        "hash": row["hash"].hex(),
        "envelope": EVENTS[2],
    }


@pytest.mark.parametrize(
    ("query", "positions"),
    [
        ("", [5, 4, 3, 2, 1]),
        (f"subject={SIGNAL}", [2, 1]),
        ("type=compass.login.failed.v1&type=compass.signal.corrected.v1", [3, 2]),
        (f"actor_id={ACTOR}", [5, 3]),
        ("source=/services/auth", [3]),
        ("from=2026-07-01T09:00:01Z&to=2026-07-01T09:00:03Z", [3, 2]),
        (f"actor_id={ACTOR}&source=/services/signals", [5]),
        ("type=unheard.of", []),
    ],
)
async def test_pages_and_exports_have_what_the_filters_say(
    filled: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch, query: str, positions: list[int]
) -> None:
    found: list[int] = []
    cursor = ""
    while True:
        page = await get(filled, f"?limit=2&{query}{cursor}")
        found += [entry["position"] for entry in page["entries"]]
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['cursor']}"
    assert found == positions

    monkeypatch.setattr(exported, "_PIECE", 2)
    async with filled.client("admin") as client:
        lines = (await client.get(f"/api/audit/export?{query}")).text.split("\n")[:-1]
        table = (await client.get(f"/api/audit/export?format=csv&{query}")).text
    assert [json.loads(line)["position"] for line in lines] == positions[::-1]
    assert [int(row["position"]) for row in csv.DictReader(io.StringIO(table))] == positions[::-1]


async def test_both_exports_say_the_same_as_the_pages(filled: ServiceUnderTest) -> None:
    entries = (await get(filled, ""))["entries"][::-1]
    async with filled.client("admin") as client:
        ndjson = await client.get("/api/audit/export?format=ndjson")
        table = await client.get("/api/audit/export?format=csv")
    assert ndjson.headers["content-type"] == "application/x-ndjson"
    assert ndjson.headers["content-disposition"] == 'attachment; filename="audit.ndjson"'
    assert table.headers["content-type"] == "text/csv; charset=utf-8"

    def same(value: dict[str, Any]) -> dict[str, Any]:
        return value | {name: datetime.fromisoformat(value[name]) for name in ("time", "recorded_at")}

    assert [same(json.loads(line)) for line in ndjson.text.split("\n")[:-1]] == [same(entry) for entry in entries]
    rows = list(csv.DictReader(io.StringIO(table.text, newline="")))
    assert tuple(rows[0]) == exported.COLUMNS
    for row, entry in zip(rows, entries, strict=True):
        numbers = {name: int(row[name]) for name in ("position", "sequence")}
        absent = {name: row[name] or None for name in ("actor_id", "feed_type")}
        assert same(row | numbers | absent | {"envelope": json.loads(row["envelope"])}) == same(entry)


async def test_an_empty_log_is_an_empty_export(service: ServiceUnderTest) -> None:
    async with service.client("admin") as client:
        assert (await client.get("/api/audit/export")).text == ""
        assert (await client.get("/api/audit/export?format=csv")).text.count("\n") == 1


async def test_gaps_are_shown_and_go_when_the_events_come(service: ServiceUnderTest) -> None:
    first, second = uuid4(), uuid4()
    sent = [
        event(subject=first, sequence=4),
        event(subject=first, sequence=7),
        event(subject=second, sequence=2_147_483_647),
    ]
    for one in sent:
        await service.consume("activity.signals", *messages(one))
    seen: list[tuple[str, int, int]] = []
    cursor = ""
    while True:
        page = await get(service, f"/gaps?limit=1{cursor}")
        seen += [(gap["subject"], gap["first"], gap["last"]) for gap in page["gaps"]]
        assert (page["missing"], page["subjects"]) == (3 + 2 + 2_147_483_646, 2)
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['cursor']}"
    assert sorted(seen) == sorted([(str(first), 1, 3), (str(first), 5, 6), (str(second), 1, 2_147_483_646)])
    missing = [event(subject=first, sequence=n) for n in (5, 1, 3, 2, 6)]
    await service.consume("activity.signals", *messages(*missing))
    page = await get(service, "/gaps")
    assert [(gap["subject"], gap["source"]) for gap in page["gaps"]] == [(str(second), "/services/signals")]


async def test_missing_sequences_are_a_metric(service: ServiceUnderTest) -> None:
    for sequence, missing in ((4, 3), (2, 2), (1, 1), (3, 0)):
        await service.consume("activity.signals", *messages(event(subject=SIGNAL, sequence=sequence)))
        async with service.session_maker() as session:
            await service_audit.measure_gaps(session)
        async with service.client(None) as client:
            metrics = (await client.get("/metrics")).text
        assert f"compass_activity_missing_sequences {missing:.1f}" in metrics
        assert f"compass_activity_subjects_with_gaps {float(missing > 0):.1f}" in metrics


@pytest.mark.parametrize("path", ["", "/export", "/gaps"])
async def test_only_admins_read_it(service: ServiceUnderTest, path: str) -> None:
    for role, status in ((None, 401), ("viewer", 403), ("administration", 403), ("admin", 422)):
        async with service.client(role) as client:
            assert (await client.get(f"/api/audit{path}?typo=1")).status_code == status


@pytest.mark.parametrize(
    "query",
    [
        "?type=%00",
        "?source=a%00b",
        "?source=",
        "?subject=x",
        "?from=yesterday",
        "?limit=101",
        "?cursor=WzFlMzBd",
        "?cursor=WyIxIl0",
        "/export?format=xml",
        "/gaps?cursor=WzFd",
    ],
)
async def test_a_bad_query_is_422(service: ServiceUnderTest, query: str) -> None:
    async with service.client("admin") as client:
        answer = await client.get(f"/api/audit{query}")
    assert answer.status_code == 422, answer.text
