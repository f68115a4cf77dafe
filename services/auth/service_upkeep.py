"""What the service does without being asked: signing keys in good time, and forgetting what is over."""

from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from fastapi import FastAPI
from prometheus_client import Gauge

from services.auth import repository_sessions, repository_throttles, service_keys, service_throttling
from services.auth.service_tools import Tools
from shared.db import SessionMaker
from shared.supervision import look_again

logger = structlog.get_logger(__name__)

SESSIONS_KEPT: Final = timedelta(days=30)
"""How long an ended session can still be seen."""

NEXT_KEY_DUE: Final = Gauge("compass_auth_next_key_due_timestamp_seconds", "When the next signing key is to be made.")

_PAUSE_SECONDS: Final = 600.0


async def upkeep(app: FastAPI) -> None:
    """Run until cancelled; a database that is away is waited for."""

    async def look() -> bool:
        if kid := await once(app.state.session_maker, app.state.tools):
            logger.info("made a signing key", kid=kid)
            await app.state.access.refresh()
        return False

    await look_again("upkeep", look, _PAUSE_SECONDS)


async def once(maker: SessionMaker, tools: Tools, now: datetime | None = None) -> str | None:
    """Make a signing key if it is time; delete old sessions and throttles. Answers the id of a key that was made."""
    now = now or datetime.now(UTC)
    async with maker() as session, session.begin():
        made = await service_keys.keep_up(session, tools, now)
        due = await service_keys.next_due(session, tools, now)
        await repository_sessions.forget(session, now - SESSIONS_KEPT)
        await repository_throttles.forget_before(session, now - service_throttling.FORGOTTEN_AFTER)
    NEXT_KEY_DUE.set(due.timestamp())
    return made
