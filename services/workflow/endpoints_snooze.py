"""Putting a signal aside."""

from typing import Annotated

from fastapi import APIRouter, Response

from services.workflow import service_snooze
from services.workflow.endpoints import SignalId
from services.workflow.schemas import response
from services.workflow.schemas_snooze import SnoozeRequest
from shared.auth import Permission, User, require
from shared.db import DbSession
from shared.errors import conflicts
from shared.idempotency import OnceOnly, once
from shared.preconditions import IfMatch

router = APIRouter(prefix="/api/signals/{signal_id}/snooze", tags=["workflow"])

Snoozer = Annotated[User, require(Permission.SNOOZE)]


@router.post("", responses=response("Put aside.") | conflicts("not_snoozable", "superseded"))
async def snooze(
    signal_id: SignalId, user: Snoozer, request: SnoozeRequest, if_match: IfMatch, attempt: OnceOnly, session: DbSession
) -> Response:
    """Put a signal aside that is new, assigned or in progress (else 409 `not_snoozable`), or change until when it is.

    It keeps its status, people and due date, is not overdue and not reminded of, and goes along to newer detections.
    It is back when its date has come, when a newer detection is worse, or as soon as somebody moves its status.
    """
    return await once(
        session, user, attempt, lambda: service_snooze.snooze(session, user, signal_id, request, if_match)
    )


@router.delete("", responses=response("Back.") | conflicts("not_snoozed", "superseded"))
async def bring_back(
    signal_id: SignalId, user: Snoozer, if_match: IfMatch, attempt: OnceOnly, session: DbSession
) -> Response:
    """Bring back what is put aside (409 `not_snoozed` for what is not)."""
    return await once(session, user, attempt, lambda: service_snooze.bring_back(session, user, signal_id, if_match))
