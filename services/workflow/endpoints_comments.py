"""Comments on a signal."""

from typing import Annotated

from fastapi import APIRouter, Response

from services.workflow import service_comments
from services.workflow.endpoints import Reader, SignalId, read
from services.workflow.schemas import CommentPage, CommentRequest, CommentView
from shared.auth import Permission, User, require
from shared.db import DbReading, DbSession
from shared.errors import conflicts
from shared.idempotency import OnceOnly, once
from shared.pagination import Cursor, Limit

router = APIRouter(prefix="/api/signals/{signal_id}/comments", tags=["workflow"])

Commenter = Annotated[User, require(Permission.COMMENT)]


@router.get("", response_model=CommentPage)
async def list_comments(
    signal_id: SignalId, _: Reader, session: DbReading, limit: Limit = 25, cursor: Cursor = None
) -> Response:
    """Comments along the chain of the entity's detections, the newest first."""
    return read(await service_comments.page(session, signal_id, cursor, limit))


@router.post(
    "", status_code=201, responses={201: {"model": CommentView, "description": "Written."}, **conflicts("superseded")}
)
async def add_comment(
    signal_id: SignalId, user: Commenter, request: CommentRequest, attempt: OnceOnly, session: DbSession
) -> Response:
    """Comment on a signal."""
    return await once(session, user, attempt, lambda: service_comments.add(session, user, signal_id, request), 201)
