"""The export of the audit log, as NDJSON and as CSV, beside PostgreSQL's own COPY of the same rows to the same text.

The limit is the very statement over one connection, its output counted and thrown away: what is between it and ours is
what passing it on costs. The memory of this process must not grow by it.
"""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import asyncpg
import psutil

from benchmarks.measure import Figures, Report, alternate
from benchmarks.servers import Servers
from services.activity.repository_audit_pages import AuditFilters
from services.activity.repository_export import CSV, NDJSON
from services.activity.schemas_audit import ExportFormat
from services.activity.service_export import Exports, export
from services.activity.settings import ActivitySettings
from shared.db import SessionMaker, create_engine, create_session_maker
from tests.support.service import migrate, service_settings

ROWS = 2_000_000
_TO_REACH = 50_000
_MEMORY_MB = 32
_FORMS: dict[ExportFormat, dict[str, Any]] = {ExportFormat.NDJSON: NDJSON, ExportFormat.CSV: CSV}


async def run(servers: Servers, rounds: int) -> list[Report]:
    """Measure on servers of their own."""
    migrate("activity", servers.postgres.owner_url("activity"))
    await fill(servers.postgres.admin_url)
    settings = service_settings(ActivitySettings, servers.postgres.service_url("activity"))
    engine = create_engine(settings, "activity")
    maker = create_session_maker(engine)
    reports = []
    for form in ExportFormat:
        reports += await _measure(maker, servers.postgres.service_url("activity"), form, rounds)
    await engine.dispose()
    return reports


async def _measure(maker: SessionMaker, url: str, form: ExportFormat, rounds: int) -> list[Report]:
    grown: list[float] = []

    async def ours() -> float:
        before, most = _resident_mb(), 0.0
        started, size = perf_counter(), 0
        async for chunk in export(Exports(1), maker, AuditFilters(), form):
            size += len(chunk)
            most = max(most, _resident_mb())
        grown.append(max(0.1, most - before))
        return ROWS / (perf_counter() - started)

    mine, theirs = await alternate(rounds, ours, _copy(url, form))
    speed = Figures(f"export, {form}", "rows/s", mine)
    return [
        Report(f"export, {form}, by COPY", speed, Figures("  limit: COPY alone", "rows/s", theirs), 0.7),
        Report(f"export, {form}, by rate", speed, Figures("  at least", "rows/s", [_TO_REACH]), 1.0),
        Report(
            f"export, {form}, memory",
            Figures(f"export, {form}, growth", "MB", grown[1:]),
            Figures("  at most", "MB", [_MEMORY_MB]),
            1.0,
            less_is_better=True,
        ),
    ]


def _copy(url: str, form: ExportFormat) -> Callable[[], Awaitable[float]]:
    async def limit() -> float:
        size = 0

        async def count(data: bytes) -> None:
            nonlocal size
            size += len(data)

        connection = await asyncpg.connect(url, server_settings={"search_path": "activity", "timezone": "UTC"})
        started = perf_counter()
        query = _FORMS[form]["query"].replace("{where}", "TRUE")
        await connection.copy_from_query(query, output=count, **_FORMS[form]["options"])
        seconds = perf_counter() - started
        await connection.close()
        return ROWS / seconds

    return limit


def _resident_mb() -> float:
    resident: int = psutil.Process().memory_info().rss
    return resident / 1024**2


async def fill(admin_url: str) -> None:
    """A log of that many rows, each about as large as that of a detection; its chain is not what is measured."""
    connection = await asyncpg.connect(admin_url, server_settings={"search_path": "activity"}, command_timeout=3600)
    await connection.execute(_LOG.format(rows=ROWS))
    await connection.execute("UPDATE audit_head SET audit_position = $1", ROWS)
    await connection.execute("VACUUM ANALYZE audit_log")
    await connection.close()


_LOG = """
    INSERT INTO audit_log (position, event_id, topic, source, subject, sequence, type, time, actor_id, feed_type,
                           recorded_at, envelope, previous_hash, hash)
    SELECT n, gen_random_uuid(), 'compass.signals.v1', '/services/signals', gen_random_uuid(), 1,
           'compass.signal.detected.v1', timestamptz '2026-01-01' + n * interval '1 second', NULL, 'new_signal',
           timestamptz '2026-01-01' + n * interval '1 second',
           jsonb_build_object('specversion', '1.0', 'id', n, 'data', jsonb_build_object('signal', told)),
           sha256('a'), sha256('b')
    FROM generate_series(1, {rows}) AS n
    CROSS JOIN (
        SELECT jsonb_object_agg('field_' || place, 'a value of a field, ' || place) AS told
        FROM generate_series(1, 30) AS place
    ) AS data
"""
