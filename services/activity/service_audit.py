"""Telling operators of what is missing in the audit log."""

from typing import Final

from fastapi import FastAPI
from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity import repository_audit_pages as repository
from shared.db import SessionMaker
from shared.supervision import look_again

MISSING: Final = Gauge("compass_activity_missing_sequences", "Sequence numbers that have not come, though later have.")
MISSING_SUBJECTS: Final = Gauge("compass_activity_subjects_with_gaps", "Subjects of which an event is missing.")

_LOOK_SECONDS: Final = 5.0


async def measure_gaps(session: AsyncSession) -> None:
    """Set the metrics of missing sequences."""
    subjects, missing = await repository.count_missing(session)
    MISSING_SUBJECTS.set(subjects)
    MISSING.set(missing)


async def watch_gaps(app: FastAPI) -> None:
    """Keep the metrics of missing sequences true; runs as long as the service."""
    session_maker: SessionMaker = app.state.session_maker

    async def look() -> bool:
        async with session_maker() as session:
            await measure_gaps(session)
        return False

    await look_again("gaps", look, _LOOK_SECONDS)
