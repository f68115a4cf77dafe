"""HTTP in: what the engine said about a signal."""

from fastapi import APIRouter

from services.signals import service_insights
from services.signals.endpoints import Reader
from services.signals.schemas import SignalId
from services.signals.schemas_insights import InsightPage
from shared.db import DbSession
from shared.pagination import Cursor, Limit

router = APIRouter(prefix="/api/signals/{signal_id}", tags=["signals"])


@router.get("/insights")
async def insights(
    signal_id: SignalId, _: Reader, session: DbSession, limit: Limit = 25, cursor: Cursor = None
) -> InsightPage:
    """The engine's insights on the signal, newest first.

    An insight belongs to the detection that was the entity's current one when it came.
    """
    return await service_insights.page(session, signal_id, limit, cursor)
