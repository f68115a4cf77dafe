"""The assignment of one signal."""

from typing import Annotated, Final
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel

from services.workflow import service, service_history
from services.workflow.schemas import AssignmentView, AssignRequest, HistoryView, StatusRequest, response
from services.workflow.settings import DueSettings, WorkflowSettings
from shared.auth import Permission, User, require
from shared.db import DbReading, DbSession
from shared.errors import conflicts
from shared.idempotency import OnceOnly, once
from shared.preconditions import IfMatch

router = APIRouter(prefix="/api/signals/{signal_id}", tags=["workflow"])

Reader = Annotated[User, require(Permission.READ)]
Assigner = Annotated[User, require(Permission.ASSIGN)]
Mover = Annotated[User, require(Permission.MOVE_STATUS)]
JSON: Final = "application/json"

SignalId = Annotated[UUID, Path(description="The signal; writes need its entity's newest one.")]


def _due_settings(request: Request) -> DueSettings:
    settings: WorkflowSettings = request.app.state.settings
    return settings.due


Due = Annotated[DueSettings, Depends(_due_settings)]
"""When what is assigned will be due."""


def read(model: BaseModel) -> Response:
    """The answer of a read. A model that an endpoint returns is validated once more on its way out."""
    return Response(model.model_dump_json(by_alias=True), media_type=JSON)


@router.get(
    "/assignment",
    response_model=AssignmentView,
    responses=response("The workflow of the signal; of an untouched one too."),
)
async def get_assignment(signal_id: SignalId, user: Reader, session: DbReading) -> Response:
    """Who works on a signal, how far it is, and where the caller may move it."""
    shown = await service.show(session, user, signal_id)
    return Response(msgspec.json.encode(shown), media_type=JSON, headers={"etag": shown["etag"]})


@router.get("/assignment/history", response_model=HistoryView)
async def get_history(signal_id: SignalId, _: Reader, session: DbReading) -> Response:
    """Every transition along the chain of the entity's detections: who, when, from, to, notes; oldest first."""
    return read(await service_history.history(session, signal_id))


@router.post(
    "/assign", responses=response("Assigned.") | conflicts("already_assigned", "transition_not_allowed", "superseded")
)
async def assign(
    signal_id: SignalId,
    user: Assigner,
    request: AssignRequest,
    if_match: IfMatch,
    attempt: OnceOnly,
    due: Due,
    session: DbSession,
) -> Response:
    """Assign a new signal; or reassign one that is assigned or in progress, which keeps its status.

    Reassigning needs `If-Match` (409 `already_assigned` without it). A resolved or closed signal is not assigned
    again (409 `transition_not_allowed`).
    """
    return await once(session, user, attempt, lambda: service.assign(session, user, signal_id, request, if_match, due))


@router.delete("/assignment", responses=response("Back to new.") | conflicts("transition_not_allowed", "superseded"))
async def unassign(
    signal_id: SignalId, user: Assigner, if_match: IfMatch, attempt: OnceOnly, session: DbSession
) -> Response:
    """Take back a signal that is assigned and not begun; the same as moving it to `new`."""
    return await once(session, user, attempt, lambda: service.unassign(session, user, signal_id, if_match))


@router.patch(
    "/status", responses=response("Moved.") | conflicts("transition_not_allowed", "assignee_needed", "superseded")
)
async def change_status(
    signal_id: SignalId, user: Mover, request: StatusRequest, if_match: IfMatch, attempt: OnceOnly, session: DbSession
) -> Response:
    """Move the status: the assignee, the assigner or an admin; closing takes anybody but who resolved it.

    `assigned` goes to `in_progress` or `new`, `in_progress` to `resolved` or `assigned`, `resolved` to `closed` or
    `in_progress`; `closed` is the end. Going back clears the later timestamps.
    """
    return await once(
        session, user, attempt, lambda: service.change_status(session, user, signal_id, request, if_match)
    )
