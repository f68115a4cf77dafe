"""HTTP in: what this service could not process, for administrators."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from services.signals import service_dead_letters
from services.signals.schemas_dead_letters import (
    DeadLetterDetail,
    DeadLetterPage,
    DeadLetterQuery,
    ReplayRequest,
    ReplayView,
)
from shared.auth import Permission, User, require
from shared.db import DbSession
from shared.idempotency import OnceOnly, once

router = APIRouter(prefix="/api/dead-letters", tags=["dead letters"])

Operator = Annotated[User, require(Permission.MANAGE_DEAD_LETTERS)]


@router.get("")
async def list_dead_letters(
    _: Operator, query: Annotated[DeadLetterQuery, Query()], session: DbSession
) -> DeadLetterPage:
    """Messages that the signals service could not process, latest first.

    The other services have theirs listed and replayed by `python -m services.<name>.dead_letters`.
    """
    return await service_dead_letters.page(session, query)


@router.get("/{letter_id}")
async def get_dead_letter(letter_id: UUID, _: Operator, session: DbSession, response: Response) -> DeadLetterDetail:
    """One dead letter with the message as it came: bytes as text where they are UTF-8, else as base64."""
    letter, response.headers["etag"] = await service_dead_letters.one(session, letter_id)
    return letter


@router.post("/replay", response_model=ReplayView)
async def replay(user: Operator, request: ReplayRequest, attempt: OnceOnly, session: DbSession) -> Response:
    """Put messages on their topics again, once each, for the consumer group that rejected them.

    What was replayed before is left alone. A message that fails again is a new dead letter. At most 500 are replayed at
    once; `has_more` says that others match.
    """
    return await once(session, user, attempt, lambda: service_dead_letters.replay(session, request))
