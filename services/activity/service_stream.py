"""One reader's stream of the feed: what it missed, then what comes, until it leaves or has to."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.activity import repository, repository_reads
from services.activity.repository_filters import FeedFilters
from services.activity.schemas import FeedEvent
from services.activity.service_hub import DROPPED, PAGE, Hub, Reader, frame_of
from services.activity.settings import ActivitySettings
from shared.access import Access
from shared.auth import User
from shared.db import SessionMaker
from shared.errors import FieldProblem, InvalidError, UnauthenticatedError
from shared.telemetry import logger

_HEARTBEAT_SECONDS: Final = 15.0
_LOOK_AT_TOKEN_SECONDS: Final = 3.0
# How long a reader waits before it connects again; of EventSource and of most fetch-based readers. The id lets even a
# reader that has been sent nothing yet resume where it began.
_OPENING: Final = b"retry: 1000\nid: %d\n\n"


@dataclass(frozen=True, slots=True)
class Place:
    """What streams run on."""

    hub: Hub
    session_maker: SessionMaker
    access: Access
    settings: ActivitySettings


async def resume_from(session_maker: SessionMaker, last_event_id: str | None) -> int:
    """The position after which a reader's stream goes on: the feed's end for a reader that wants only what comes.

    Raises:
        InvalidError: for something that is no position of this feed.
    """
    async with session_maker() as session:
        head = await repository_reads.head(session)
    if last_event_id is None:
        return head
    if last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 20 and int(last_event_id) <= head:
        return int(last_event_id)
    detail = "The Last-Event-ID is no position of this feed."
    raise InvalidError(detail, "bad_position", errors=[FieldProblem(pointer="/header/last-event-id", detail=detail)])


class EventStream(Response):
    """The answer that goes on. It counts as one of the user's streams for as long as it is being sent."""

    media_type = "text/event-stream"

    def __init__(self, place: Place, user: User, token: str, filters: FeedFilters, after: int) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._place = place
        self._user = user
        self._token = token
        self._filters = filters
        self._after = after
        self._sending_since: float | None = None

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send until the stream ends by itself, its reader has gone, or takes nothing for too long."""
        with self._place.hub.admit(self._user.id, self._place.settings):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            sending = asyncio.ensure_future(self._send(send))
            leaving = asyncio.ensure_future(_until_gone(receive))
            try:
                await self._watch(sending, leaving)
                if sending.done():
                    await sending
            finally:
                sending.cancel()
                leaving.cancel()
                await asyncio.wait((sending, leaving))

    async def _send(self, send: Send) -> None:
        follow = Follow(self._place, self._user, self._token, self._filters, self._after)
        async with aclosing(follow.frames()) as frames:
            async for piece in frames:
                self._sending_since = monotonic()
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                self._sending_since = None
        self._sending_since = monotonic()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, sending: asyncio.Future[None], leaving: asyncio.Future[None]) -> None:
        """Return when all is sent, the reader has gone, or takes nothing for too long.

        A look now and then: a timeout around each piece cost half of what sending it did.
        """
        longest = self._place.settings.stream_stalled_seconds
        both = (sending, leaving)
        while not (await asyncio.wait(both, timeout=longest / 5, return_when=asyncio.FIRST_COMPLETED))[0]:
            if self._sending_since is not None and monotonic() - self._sending_since > longest:
                # It cannot be told so: nothing that is sent gets through. It resumes by the last id that it has.
                DROPPED.inc()
                logger.info("a reader of the feed takes nothing, its stream is cut")
                return


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Follow:
    """What one reader is sent, piece by piece."""

    def __init__(self, place: Place, user: User, token: str, filters: FeedFilters, after: int) -> None:
        self._place = place
        self._user = user
        self._token = token
        self._filters = filters
        self._after = after

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """The stream.

        A reader that is far behind is brought near the end before it joins, so that what comes meanwhile does not pile
        up. Joining comes before the last look back, so that nothing falls in between: up to the hub's position of that
        moment all is read from the database, after it all comes from the hub.
        """
        hub = self._place.hub
        yield _OPENING % self._after
        while hub.position - self._after > PAGE and not hub.stopping:
            if (refusal := self._refusal()) is not None:
                yield _end(refusal.code, refusal.detail)
                return
            up_to = min(hub.position, self._after + PAGE)
            yield await self._missed(up_to) or b"id: %d\n\n" % up_to
            self._after = up_to
        if hub.stopping:
            yield _RECONNECT
            return
        start = hub.position
        with hub.join(self._filters, max(start, self._after)) as reader:
            if start > self._after and (missed := await self._missed(start)):
                yield missed
            async for piece in self._live(reader):
                yield piece

    async def _live(self, reader: Reader) -> AsyncGenerator[bytes, None]:
        hub = self._place.hub
        look, heartbeat = 0.0, monotonic() + _HEARTBEAT_SECONDS
        while not reader.too_slow and not reader.closed:
            now = monotonic()
            if now >= look:
                if (refusal := self._refusal()) is not None:
                    yield _end(refusal.code, refusal.detail)
                    return
                look = now + min(_LOOK_AT_TOKEN_SECONDS, self._seconds_left())
            if frames := await reader.take(min(look, heartbeat) - now):
                yield frames
            elif monotonic() >= heartbeat:
                heartbeat = monotonic() + _HEARTBEAT_SECONDS
                # All up to here has been sent or is not wanted: the reader need not look at it when it resumes.
                yield b": heartbeat\nid: %d\n\n" % max(hub.position, self._after)
        if reader.too_slow:
            yield _end("too_slow", "Events came faster than they were read: resume with the Last-Event-ID.")
        else:
            yield await reader.take(0) + _RECONNECT

    async def _missed(self, up_to: int) -> bytes:
        async with self._place.session_maker() as session:
            reads = await repository_reads.state(session, self._user.id)
            rows = await repository.stored_after(session, self._after, up_to, self._filters, reads, PAGE)
        return b"".join(frame_of(FeedEvent.of(row)) for row in rows)

    def _refusal(self) -> UnauthenticatedError | None:
        if self._seconds_left() <= 0:
            return UnauthenticatedError("The access token has expired: connect again with a new one.", "expired_token")
        try:
            self._place.access.verify(self._token)
        except UnauthenticatedError as refusal:
            return refusal
        return None

    def _seconds_left(self) -> float:
        return (self._user.token_expires_at - datetime.now(UTC)).total_seconds()


def _last_words(event: str, code: str, detail: str) -> bytes:
    return f"event: {event}\ndata: {json.dumps({'code': code, 'detail': detail})}\n\n".encode()


def _end(code: str, detail: str) -> bytes:
    return _last_words("end", code, detail)


_RECONNECT: Final = _last_words(
    "reconnect", "stopping", "This instance of the service stops: resume with the Last-Event-ID on another."
)
