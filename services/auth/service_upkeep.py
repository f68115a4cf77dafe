"""What the service does without being asked: signing keys in good time, and forgetting what is over."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from fastapi import FastAPI

from services.auth import repository_sessions, repository_throttles, service_keys, service_throttling
from services.auth.service_tools import Tools
from shared.db import SessionMaker, is_transient

logger = structlog.get_logger(__name__)

SESSIONS_KEPT: Final = timedelta(days=30)
"""How long an ended session can still be seen."""

_PAUSE_SECONDS: Final = 600.0
_RETRY_SECONDS: Final = 1.0


async def upkeep(app: FastAPI) -> None:
    """Run until cancelled; a database that is away is waited for."""
    while True:
        pause = _PAUSE_SECONDS
        try:
            if kid := await once(app.state.session_maker, app.state.tools):
                logger.info("made a signing key", kid=kid)
                await app.state.access.refresh()
        except Exception as error:
            if not is_transient(error):
                raise
            logger.warning("upkeep has to wait for the database", error=repr(error))
            pause = _RETRY_SECONDS
        await asyncio.sleep(pause)


async def once(maker: SessionMaker, tools: Tools, now: datetime | None = None) -> str | None:
    """Make a signing key if it is time; delete old sessions and throttles. Answers the id of a key that was made."""
    now = now or datetime.now(UTC)
    async with maker() as session, session.begin():
        made = await service_keys.keep_up(session, tools, now)
        await repository_sessions.forget(session, now - SESSIONS_KEPT)
        await repository_throttles.forget_before(session, now - service_throttling.FORGOTTEN_AFTER)
    return made
