"""Interventions on a signal, and their outcomes."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from services.workflow import service_interventions, service_outcomes
from services.workflow.endpoints import Reader, read
from services.workflow.endpoints_comments import Commenter
from services.workflow.schemas_interventions import InterventionPage, InterventionRequest, InterventionView
from services.workflow.settings import OutcomeSettings
from shared.db import DbReading, DbSession
from shared.errors import conflicts
from shared.idempotency import OnceOnly, once
from shared.pagination import Cursor, Limit
from shared.preconditions import IfMatch

router = APIRouter(prefix="/api", tags=["workflow"])


def _rules(request: Request) -> OutcomeSettings:
    rules: OutcomeSettings = request.app.state.settings.outcome
    return rules


Rules = Annotated[OutcomeSettings, Depends(_rules)]
_HEADERS = {"ETag": {"schema": {"type": "string"}, "description": "The version, for `If-Match`."}}


@router.get("/signals/{signal_id}/interventions", response_model=InterventionPage)
async def list_interventions(
    signal_id: UUID, _: Reader, session: DbReading, rules: Rules, limit: Limit = 25, cursor: Cursor = None
) -> Response:
    """Interventions along the chain of the entity's detections, the latest begun first."""
    return read(await service_interventions.page(session, signal_id, cursor, limit, rules))


@router.post(
    "/signals/{signal_id}/interventions",
    status_code=201,
    responses={
        201: {"model": InterventionView, "description": "Activated.", "headers": _HEADERS},
        **conflicts("superseded"),
    },
)
async def activate_intervention(
    signal_id: UUID, user: Commenter, request: InterventionRequest, attempt: OnceOnly, session: DbSession, rules: Rules
) -> Response:
    """Say what is done about a signal from now or from some moment on; whoever may comment may.

    Its outcome is measured from the entity's detections before and after, by itself when the window ends.
    """
    return await once(
        session,
        user,
        attempt,
        lambda: service_interventions.activate(session, user, signal_id, request, rules),
        201,
    )


@router.post(
    "/interventions/{intervention_id}/outcome",
    responses={
        200: {"model": InterventionView, "description": "Measured.", "headers": _HEADERS},
        **conflicts("already_measured", "not_enough_data"),
    },
)
async def fix_outcome(
    intervention_id: UUID, user: Commenter, if_match: IfMatch, attempt: OnceOnly, session: DbSession, rules: Rules
) -> Response:
    """Measure the outcome now, for good, instead of when the window ends.

    409 `not_enough_data` while `so_far` says so: nothing is fixed then. 409 `already_measured` afterwards.
    """
    return await once(
        session,
        user,
        attempt,
        lambda: service_outcomes.fix(session, user, intervention_id, if_match, rules),
    )
