"""The feed live, as server-sent events."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request

from services.activity import service_stream
from services.activity.schemas import StreamQuery
from services.activity.service_stream import EventStream, Place
from shared.auth import Permission, User, bearer_token, require

router = APIRouter(prefix="/api/feed", tags=["Activity"])

_DESCRIPTION = """\
Server-sent events for fetch-based readers, which can send the access token.

- `event: activity`, `id` = the event's position, `data` = the event as in `GET /api/feed`.
- A comment and an `id` every 15 seconds when nothing happens.
- `event: end`, `data` = `{"code", "detail"}`, and the stream ends: `expired_token` and `revoked_token` ask for another
  token, `too_slow` for nothing but connecting again.
- `event: reconnect`, and the stream ends: this instance stops, another one goes on.

A user may have a limited number of streams at a time; one more is 429. A reader that takes nothing for half a minute is
cut off.

With `Last-Event-ID` a stream goes on after that position, in the order in which events were stored, without a gap and
without repeating any, on any instance of the service; without it the stream starts with what comes next.
"""


@router.get(
    "/stream",
    status_code=200,  # FastAPI would look for it in the class of the answer.
    description=_DESCRIPTION,
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def stream(
    user: Annotated[User, require(Permission.READ)],
    request: Request,
    query: Annotated[StreamQuery, Query()],
    last_event_id: Annotated[str | None, Header(description="A position; what came after it is sent first.")] = None,
) -> EventStream:
    """Follow the feed."""
    state = request.app.state
    await state.hub.ready()
    after = await service_stream.resume_from(state.session_maker, last_event_id)
    place = Place(state.hub, state.session_maker, state.access, state.settings)
    return EventStream(place, user, bearer_token(request) or "", query.chosen(), after)
