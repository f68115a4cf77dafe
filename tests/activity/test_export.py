"""Exports: nothing a spreadsheet calculates, nothing left behind by a reader who leaves, not too many at a time."""

import asyncio
import csv
import io
import json
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from services.activity import repository_export, service_export
from services.activity.consumers import SUBSCRIPTIONS
from services.activity.repository_audit_pages import AuditFilters
from services.activity.schemas_audit import ExportFormat
from services.activity.service_export import Exports, export
from shared.db import SessionMaker
from shared.kafka import BatchProcessor
from tests.activity.events import event, messages
from tests.support.eventually import eventually
from tests.support.service import ServiceUnderTest


async def _record(committing: SessionMaker, *sent: dict[str, Any]) -> None:
    await BatchProcessor("activity", SUBSCRIPTIONS[0], committing)(messages(*sent))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
async def test_no_cell_is_a_formula(service: ServiceUnderTest, start: str) -> None:
    name = f"{start}HYPERLINK(1)"
    sent = event(0, source=name, type=name, feedtype=name, data={"text": "=1"})
    await service.consume("activity.signals", *messages(sent, event(1)))
    async with service.client("admin") as client:
        table = (await client.get("/api/audit/export?format=csv")).text
        line = (await client.get("/api/audit/export")).text.split("\n")[0]
    escaped, plain = csv.DictReader(io.StringIO(table, newline=""))
    assert {escaped[column] for column in ("source", "type", "feed_type")} == {f"'{name}"}
    assert plain["source"] == "/services/signals"
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in escaped.values())
    assert json.loads(line)["source"] == name


@pytest.mark.parametrize("form", list(ExportFormat))
async def test_any_text_comes_out_as_it_went_in(service: ServiceUnderTest, form: ExportFormat) -> None:
    odd = 'back\\slash \\. \\N "quote" \x01\x02\x7f\n\r\t, ‘é’ \U0001f600'
    await service.consume("activity.signals", *messages(event(0, data={odd: odd}, summary=odd)))
    async with service.client("admin") as client:
        answer = await client.get(f"/api/audit/export?format={form}")
    if form is ExportFormat.CSV:
        (row,) = csv.DictReader(io.StringIO(answer.text, newline=""))
        envelope = json.loads(row["envelope"])
    else:
        (line,) = answer.content.removesuffix(b"\n").split(b"\n")
        envelope = json.loads(line)["envelope"]
    assert (envelope["data"], envelope["summary"]) == ({odd: odd}, odd)


async def test_a_reader_who_leaves_ends_the_statement_and_gives_the_connection_back(
    committing: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_export, "_CHUNK_BYTES", 1)
    await _record(committing, *(event(n, data={"text": "x" * 20_000}) for n in range(400)))
    exports = Exports(limit=1)

    async def copying() -> int:
        running = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%' "
            "AND state <> 'idle'"
        )
        async with committing() as session:
            count: int = (await session.execute(text(running))).scalar_one()
        return count

    for _ in range(12):  # more often than the pool has connections
        lines = export(exports, committing, AuditFilters(), ExportFormat.NDJSON)
        assert json.loads((await anext(lines)).split(b"\n")[0])["position"] == 1
        assert exports.running == 1
        await lines.aclose()
        assert exports.running == 0
    await eventually(copying, lambda count: count == 0)
    whole = [chunk async for chunk in export(exports, committing, AuditFilters(), ExportFormat.NDJSON)]
    assert b"".join(whole).count(b"\n") == 400


async def test_a_reader_who_takes_nothing_is_not_waited_for(
    committing: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_export, "_CHUNK_BYTES", 1)
    monkeypatch.setattr(service_export, "_STALLED_SECONDS", 0.2)
    await _record(committing, *(event(n, data={"text": "x" * 20_000}) for n in range(400)))
    lines = export(Exports(1), committing, AuditFilters(), ExportFormat.NDJSON)
    await anext(lines)

    async def connections() -> int:
        return committing.kw["bind"].pool.checkedout()  # type: ignore[no-any-return]

    await eventually(connections, lambda count: count == 0)
    with pytest.raises(TimeoutError):
        async for _ in lines:
            pass


async def test_what_fails_in_the_middle_is_no_complete_answer(
    committing: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _record(committing, event(0))
    monkeypatch.setitem(repository_export.NDJSON, "query", "SELECT 1/0 FROM audit_log WHERE {where}")
    with pytest.raises(Exception, match="division by zero"):
        async for _ in export(Exports(1), committing, AuditFilters(), ExportFormat.NDJSON):
            pass


async def test_one_too_many_is_429(service: ServiceUnderTest) -> None:
    exports: Exports = service.app.state.exports

    async def status(client: httpx.AsyncClient) -> int:
        return (await client.get("/api/audit/export")).status_code

    async with service.client("admin") as client:
        with exports.counted(), exports.counted():
            answer = await client.get("/api/audit/export")
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many_exports")
            assert answer.headers["retry-after"] == "10"
        assert await status(client) == 200
    assert exports.running == 0


async def test_what_is_recorded_meanwhile_is_left_out(
    committing: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository_export, "_PIECE", 10)
    monkeypatch.setattr(service_export, "_CHUNK_BYTES", 1)
    await _record(committing, *(event(n) for n in range(95)))
    lines = export(Exports(1), committing, AuditFilters(), ExportFormat.CSV)
    seen = [await anext(lines), await anext(lines)]
    await asyncio.gather(*(_record(committing, event(n)) for n in range(5)))
    seen += [chunk async for chunk in lines]
    rows = list(csv.DictReader(io.StringIO(b"".join(seen).decode(), newline="")))
    assert [int(row["position"]) for row in rows] == list(range(1, 96))
