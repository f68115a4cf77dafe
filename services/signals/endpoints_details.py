"""HTTP in: a signal over time, how it was classified, and what came before it."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from services.signals import service_details
from services.signals.schemas import SignalId
from services.signals.schemas_details import HistoryPage, TechnicalView, TemporalView
from shared.auth import Permission, User, require
from shared.db import DbReading
from shared.pagination import Cursor, Limit

router = APIRouter(prefix="/api/signals/{signal_id}", tags=["signals"])

Reader = Annotated[User, require(Permission.READ)]


@router.get("/temporal")
async def get_temporal(signal_id: SignalId, _: Reader, session: DbReading) -> TemporalView:
    """The metric's value month by month, with the band of the peers and the engine's figures."""
    return await service_details.temporal(session, signal_id)


@router.get("/technical-details")
async def get_technical_details(signal_id: SignalId, _: Reader, session: DbReading) -> TechnicalView:
    """How the signal was classified: z-score, tiers, inputs with their indicators, reasoning, severity step by step."""
    return await service_details.technical(session, signal_id)


@router.get("/history", response_model=HistoryPage)
async def get_history(
    signal_id: SignalId,
    _: Reader,
    session: DbReading,
    limit: Limit = 25,
    cursor: Annotated[Cursor, Query()] = None,
) -> Response:
    """Earlier detections of the signal's entity, newest first."""
    return Response(await service_details.history(session, signal_id, limit, cursor), media_type="application/json")
