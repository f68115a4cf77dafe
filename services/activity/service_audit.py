"""Exporting the audit log in constant memory, and telling operators of what is missing in it."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from fastapi import FastAPI
from prometheus_client import Gauge
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity import repository_audit_pages as repository
from services.activity.repository_audit_pages import AuditFilters
from shared.db import SessionMaker
from shared.telemetry import logger

MISSING: Final = Gauge("compass_activity_missing_sequences", "Sequence numbers that have not come, though later have.")
MISSING_SUBJECTS: Final = Gauge("compass_activity_subjects_with_gaps", "Subjects of which an event is missing.")

_LOOK_SECONDS: Final = 5.0
_encode: Final = msgspec.json.Encoder().encode


async def export_ndjson(session_maker: SessionMaker, filters: AuditFilters) -> AsyncIterator[bytes]:
    """One JSON object per line and entry, in the order of recording; the envelope as an object."""
    async for rows in repository.everything(session_maker, filters):
        lines = []
        for row in rows:
            entry = row._asdict() | {"envelope": msgspec.Raw(row.envelope.encode())}
            lines.append(_encode(entry))
        yield b"\n".join(lines) + b"\n"


async def export_csv(session_maker: SessionMaker, filters: AuditFilters) -> AsyncIterator[bytes]:
    """The same as CSV (RFC 4180) with a header line; the envelope as JSON text in the last column."""
    yield _csv([repository.COLUMNS])
    async for rows in repository.everything(session_maker, filters):
        yield _csv(rows)


def _csv(rows: Sequence[Row[Any] | Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue().encode()


def _cell(value: datetime | UUID | str | int | None) -> str | int | None:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


async def measure_gaps(session: AsyncSession) -> None:
    """Set the metrics of missing sequences."""
    subjects, missing = await repository.count_missing(session)
    MISSING_SUBJECTS.set(subjects)
    MISSING.set(missing)


async def watch_gaps(app: FastAPI) -> None:
    """Keep the metrics of missing sequences true; runs as long as the service."""
    session_maker: SessionMaker = app.state.session_maker
    while True:
        try:
            async with session_maker() as session:
                await measure_gaps(session)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next look may succeed
            logger.warning("gaps could not be counted, trying again", error=repr(error))
        await asyncio.sleep(_LOOK_SECONDS)
