"""HTTP in: what belongs to a signal: related ones, children, parent, contributions."""

from typing import Annotated

from fastapi import APIRouter, Response

from services.signals import repository, service_drilldown
from services.signals.schemas import SignalId
from services.signals.schemas_details import Contributions, ParentView, Relatives
from shared.auth import Permission, User, require
from shared.db import DbReading
from shared.pagination import Limit

router = APIRouter(prefix="/api/signals/{signal_id}", tags=["signals"])

Reader = Annotated[User, require(Permission.READ)]

_JSON = "application/json"


@router.get("/related", response_model=Relatives)
async def get_related(signal_id: SignalId, _: Reader, session: DbReading, limit: Limit = 25) -> Response:
    """Current signals of the same facility and service line in other metrics, worst first."""
    rows = repository.related(session, signal_id, limit)
    return Response(await service_drilldown.relatives(session, signal_id, rows), media_type=_JSON)


@router.get("/children", response_model=Relatives)
async def get_children(signal_id: SignalId, _: Reader, session: DbReading, limit: Limit = 100) -> Response:
    """Current signals one dimension further down, of the same metric and facility, worst first."""
    rows = repository.children(session, signal_id, limit)
    return Response(await service_drilldown.relatives(session, signal_id, rows), media_type=_JSON)


@router.get("/parent", response_model=ParentView)
async def get_parent(signal_id: SignalId, _: Reader, session: DbReading) -> Response:
    """The current signal one dimension up, of the same metric and facility."""
    return Response(await service_drilldown.parent(session, signal_id), media_type=_JSON)


@router.get("/contributions")
async def get_contributions(signal_id: SignalId, _: Reader, session: DbReading) -> Contributions:
    """What each child adds to the signal's excess over its peers; contributions and `unexplained` add up to it."""
    return await service_drilldown.contributions(session, signal_id)
