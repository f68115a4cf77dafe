"""The caller's own sessions: seen, and ended."""

from http import HTTPStatus
from typing import Final
from uuid import UUID

from fastapi import APIRouter

from services.auth import schemas, service_sessions
from services.auth.endpoints import Caller
from services.auth.service_tools import CurrentTools
from shared.db import DbSession

router: Final = APIRouter(prefix="/api/auth/sessions", tags=["Auth"])


@router.get("")
async def list_sessions(user: Caller, session: DbSession, tools: CurrentTools) -> schemas.Sessions:
    """The caller's sessions that go on, the last used first."""
    found = await service_sessions.going_on(session, tools, user.id)
    return schemas.Sessions(sessions=[schemas.SessionItem.of(item, user.session_id) for item in found])


@router.delete("", status_code=HTTPStatus.NO_CONTENT)
async def end_other_sessions(user: Caller, session: DbSession, tools: CurrentTools) -> None:
    """End all of the caller's sessions but the present one."""
    await service_sessions.end_others(session, tools, user.id, user.session_id)


@router.delete("/{session_id}", status_code=HTTPStatus.NO_CONTENT)
async def end_session(session_id: UUID, user: Caller, session: DbSession, tools: CurrentTools) -> None:
    """End one of the caller's sessions, the present one included. 404 for one that does not go on."""
    await service_sessions.end_one(session, tools, user.id, session_id)
