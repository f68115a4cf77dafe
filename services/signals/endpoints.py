"""HTTP in: the list of signals, one of them, and its texts."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.signals import repository, service, service_edits
from services.signals.schemas import ETAG, SignalDetail, SignalEdit, SignalId, SignalPage, SignalQuery
from shared.auth import Permission, User, require
from shared.db import DbReading, DbSession
from shared.errors import NotFoundError
from shared.idempotency import Answer, OnceOnly, once
from shared.preconditions import IfMatch

router = APIRouter(prefix="/api", tags=["signals"])

Reader = Annotated[User, require(Permission.READ)]
Editor = Annotated[User, require(Permission.EDIT)]

_JSON = "application/json"


@router.get("/signals", response_model=SignalPage)
async def list_signals(
    user: Reader, query: Annotated[SignalQuery, Query()], session: DbReading, request: Request
) -> Response:
    """Signals by filters, a page at a time; each entity's current detection unless `include_history` is set.

    Every filter by value may be given several times and matches any of its values. `dimension.<name>=<value>`
    filters by a dimension of the entity (`dimension.department=1`). Pages follow a cursor, which neither skips nor
    repeats a row, or an offset.
    """
    return Response(await service.list_page(session, request.app.state.large_totals, query, user.id), media_type=_JSON)


@router.get("/signals/{signal_id}", response_model=SignalDetail, responses={200: {"headers": ETAG}})
async def get_signal(signal_id: SignalId, _: Reader, session: DbReading) -> Response:
    """One signal with all that is stored of it, its workflow status and where to read on."""
    found = await repository.detail(session, signal_id)
    if found is None:
        raise NotFoundError("There is no signal with this id.")
    body, tag = found
    return Response(body, media_type=_JSON, headers={"etag": tag})


@router.patch("/signals/{signal_id}", response_model=SignalDetail, responses={200: {"headers": ETAG}})
async def edit_signal(
    signal_id: SignalId, user: Editor, change: SignalEdit, if_match: IfMatch, attempt: OnceOnly, session: DbSession
) -> Response:
    """Put description or narrative in words of one's own. They stay when the engine publishes the detection again."""

    async def edit() -> Answer:
        body, tag = await service_edits.edit(session, user, signal_id, change, if_match)
        return Answer(HTTPStatus.OK, body.encode(), tag)

    return await once(session, user, attempt, edit)
