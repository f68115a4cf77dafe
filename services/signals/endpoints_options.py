"""HTTP in: which values the filters take, which facilities there are, how many signals of each kind.

The answers are made from counts that are kept beside the signals, and may lag behind them by up to 5 s.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response

from services.signals import service_options
from services.signals.schemas_options import (
    Facilities,
    FacilitiesQuery,
    FilterOptions,
    Narrowing,
    OptionsQuery,
    Summary,
)
from services.signals.service_answers import Answers
from shared.auth import Permission, User, require
from shared.db import SessionMaker

router = APIRouter(prefix="/api/signals", tags=["signals"])

Reader = Annotated[User, require(Permission.READ)]

Asked = TypeVar("Asked", bound=Narrowing)


@router.get("/filter-options", response_model=FilterOptions)
async def get_filter_options(_: Reader, query: Annotated[OptionsQuery, Query()], request: Request) -> Response:
    """For each filter of the list the values that current signals have, and how many; up to 5 s old."""
    return await _answer(request, query, service_options.filter_options)


@router.get("/facilities", response_model=Facilities)
async def get_facilities(_: Reader, query: Annotated[FacilitiesQuery, Query()], request: Request) -> Response:
    """The facilities that have current signals, by health system; up to 5 s old."""
    return await _answer(request, query, service_options.facilities)


@router.get("/summary", response_model=Summary)
async def get_summary(_: Reader, query: Annotated[Narrowing, Query()], request: Request) -> Response:
    """How many current signals there are, by domain, type, severity, status and tier; up to 5 s old."""
    return await _answer(request, query, service_options.summary)


async def _answer(
    request: Request, query: Asked, make: Callable[[SessionMaker, Asked], Awaitable[dict[str, Any]]]
) -> Response:
    # No session of the request's own: most answers are in memory already.
    state = request.app.state
    answers: Answers = state.answers
    body = await answers.get((make, query.model_dump_json()), partial(make, state.session_maker, query))
    return Response(body, media_type="application/json")
