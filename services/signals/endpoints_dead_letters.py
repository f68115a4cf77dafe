"""HTTP in: what this service could not process, for administrators."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from services.signals import examples_operations, service_dead_letters
from services.signals.schemas import ETAG
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
LetterId = Annotated[
    UUID, Path(description="As in the list of dead letters.", examples=[examples_operations.DEAD_LETTER["id"]])
]


@router.get("")
async def list_dead_letters(
    _: Operator, query: Annotated[DeadLetterQuery, Query()], session: DbSession
) -> DeadLetterPage:
    """Messages that the signals service could not process, latest first.

    Those of the workflow and the activity service are not among them: they are listed, shown and replayed by the
    operators' commands `python -m services.workflow.dead_letters` and `python -m services.activity.dead_letters`.
    """
    return await service_dead_letters.page(session, query)


@router.get("/{letter_id}", responses={200: {"headers": ETAG}})
async def get_dead_letter(letter_id: LetterId, _: Operator, session: DbSession, response: Response) -> DeadLetterDetail:
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
