"""All assignments, and who can be assigned."""

from fastapi import APIRouter

from services.workflow import repository
from services.workflow.endpoints import Assigner
from services.workflow.schemas import AssigneesView, AssigneeView
from shared.db import DbSession

router = APIRouter(prefix="/api", tags=["workflow"])


@router.get("/assignees")
async def list_assignees(_: Assigner, session: DbSession) -> AssigneesView:
    """Everyone who can be assigned: active and no viewer, by name."""
    users = await repository.assignees(session)
    return AssigneesView(assignees=[AssigneeView(id=user.user_id, name=user.name, role=user.role) for user in users])
