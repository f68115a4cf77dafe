"""The feed live: every instance of the service hears of every event and passes it on to its own readers.

One connection per instance listens for what `repository_audit.append` notifies at commit, and looks every second all
the same. What is new is read once, by position, and encoded once, however many readers it goes to. Since positions
follow the order of commit without holes, "all after position N" is the same on every instance, today and after a
restart: that is what a reader resumes by.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Final
from uuid import UUID

import asyncpg
from fastapi import FastAPI
from prometheus_client import Counter, Gauge

from services.activity import repository, repository_reads
from services.activity.repository_filters import FeedFilters
from services.activity.schemas import FeedEvent
from services.activity.settings import ActivitySettings
from shared.access import Access
from shared.auth import User
from shared.db import SessionMaker
from shared.errors import FieldProblem, InvalidError, UnauthenticatedError, UnavailableError
from shared.telemetry import logger

CHANNEL: Final = "activity_feed"
READERS: Final = Gauge("compass_activity_stream_readers", "Open streams of the feed.")
DROPPED: Final = Counter("compass_activity_stream_dropped_total", "Streams ended because the reader was too slow.")

_POLL_SECONDS: Final = 1.0
_HEARTBEAT_SECONDS: Final = 15.0
_LOOK_AT_TOKEN_SECONDS: Final = 3.0
_READY_SECONDS: Final = 5.0
_PAGE: Final = 500
_LONGEST_QUEUE: Final = 1000
# How long a reader waits before it connects again; of EventSource and of most fetch-based readers.
_OPENING: Final = b"retry: 1000\n\n"


class Reader:
    """What one reader still has to be sent, and which events it wants."""

    def __init__(self, filters: FeedFilters, after: int) -> None:
        self.filters = filters
        self._after = after
        self._frames: deque[bytes] = deque()
        self._news = asyncio.Event()
        self.too_slow = False

    def offer(self, event: FeedEvent, frame: bytes) -> None:
        """Take an event that the reader wants and does not have; forget all about a reader that is too far behind."""
        if event.position <= self._after or self.too_slow or not _matches(self.filters, event):
            return
        if len(self._frames) >= _LONGEST_QUEUE:
            self.too_slow = True
            self._frames.clear()
            DROPPED.inc()
        else:
            self._frames.append(frame)
        self._news.set()

    async def take(self, seconds: float) -> bytes:
        """The frames that wait, after waiting for the first so long at most."""
        if not self._frames and not self.too_slow:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), seconds)
        self._news.clear()
        frames = b"".join(self._frames)
        self._frames.clear()
        return frames


class Hub:
    """All readers of this instance, and how far the feed has been passed on to them."""

    def __init__(self) -> None:
        self.position = 0
        self._ready = asyncio.Event()
        self._news = asyncio.Event()
        # By the signal that a reader wants, None for those that want all: an event looks at nobody else's readers.
        self._readers: dict[UUID | None, set[Reader]] = {}

    async def run(self, app: FastAPI) -> None:
        """Pass on what is stored until cancelled; while the database is away, readers wait."""
        settings: ActivitySettings = app.state.settings
        session_maker: SessionMaker = app.state.session_maker
        while True:
            try:
                await self._listen(settings, session_maker)
            except Exception as error:  # noqa: BLE001 - whatever it is, readers wait for the next attempt
                logger.warning("the feed's stream is interrupted, trying again", error=repr(error))
                await asyncio.sleep(_POLL_SECONDS)

    async def _listen(self, settings: ActivitySettings, session_maker: SessionMaker) -> None:
        connection = await asyncpg.connect(
            str(settings.database_url),
            timeout=5,
            server_settings={"search_path": "activity", "application_name": "compass-activity-stream"},
        )
        try:
            await connection.add_listener(CHANNEL, lambda *_: self._news.set())
            if not self._ready.is_set():
                async with session_maker() as session:
                    self.position = await repository_reads.head(session)
                self._ready.set()
            while not connection.is_closed():
                self._news.clear()
                await self._pass_on(session_maker)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), _POLL_SECONDS)
        finally:
            connection.terminate()

    async def _pass_on(self, session_maker: SessionMaker) -> None:
        while True:
            async with session_maker() as session:
                up_to = self.position + _PAGE
                rows = await repository.stored_after(session, self.position, up_to, FeedFilters(), None, _PAGE)
            for row in rows:
                event = FeedEvent.of(row)
                frame = _frame(event)
                for wanted in {None, event.signal_id}:
                    for reader in self._readers.get(wanted, ()):
                        reader.offer(event, frame)
                self.position = event.position
            if len(rows) < _PAGE:
                return

    async def ready(self) -> None:
        """Return when the hub knows where the feed ends.

        Raises:
            UnavailableError: if it does not find out in time.
        """
        try:
            await asyncio.wait_for(self._ready.wait(), _READY_SECONDS)
        except TimeoutError:
            raise UnavailableError("The feed cannot be followed at the moment.") from None

    @contextmanager
    def join(self, filters: FeedFilters, after: int) -> Iterator[Reader]:
        """A reader of every matching event that the hub passes on from now, and that comes after the position."""
        reader = Reader(filters, after)
        readers = self._readers.setdefault(filters.signal_id, set())
        readers.add(reader)
        READERS.inc()
        try:
            yield reader
        finally:
            READERS.dec()
            readers.discard(reader)
            if not readers:
                self._readers.pop(filters.signal_id, None)


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


async def follow(
    hub: Hub,
    session_maker: SessionMaker,
    access: Access,
    user: User,
    token: str,
    filters: FeedFilters,
    after: int,
) -> AsyncIterator[bytes]:
    """The stream of one reader: what it missed, then what comes, until its token is no longer accepted.

    Joining comes before looking back, so that nothing falls in between: up to the hub's position of that moment all
    is read from the database, after it all comes from the hub.
    """
    start = hub.position
    with hub.join(filters, max(start, after)) as reader:
        yield _OPENING
        async for frame in _missed(session_maker, user, filters, after, start):
            yield frame
        look, heartbeat = 0.0, monotonic() + _HEARTBEAT_SECONDS
        while not reader.too_slow:
            now = monotonic()
            if now >= look:
                if (refusal := _refusal(access, user, token)) is not None:
                    yield _end(refusal.code, refusal.detail)
                    return
                look = now + min(_LOOK_AT_TOKEN_SECONDS, _seconds_left(user))
            if frames := await reader.take(min(look, heartbeat) - now):
                yield frames
            elif monotonic() >= heartbeat:
                heartbeat = monotonic() + _HEARTBEAT_SECONDS
                # All up to here has been sent or is not wanted: the reader need not look at it when it resumes.
                yield b": heartbeat\nid: %d\n\n" % max(hub.position, after)
        yield _end("too_slow", "Events came faster than they were read: resume with the Last-Event-ID.")


def _refusal(access: Access, user: User, token: str) -> UnauthenticatedError | None:
    if _seconds_left(user) <= 0:
        return UnauthenticatedError("The access token has expired: connect again with a new one.", "expired_token")
    try:
        access.verify(token)
    except UnauthenticatedError as refusal:
        return refusal
    return None


def _seconds_left(user: User) -> float:
    return (user.token_expires_at - datetime.now(UTC)).total_seconds()


async def _missed(
    session_maker: SessionMaker, user: User, filters: FeedFilters, after: int, up_to: int
) -> AsyncIterator[bytes]:
    while after < up_to:
        async with session_maker() as session:
            reads = await repository_reads.state(session, user.id)
            rows = await repository.stored_after(session, after, up_to, filters, reads, _PAGE)
        if rows:
            yield b"".join(_frame(FeedEvent.of(row)) for row in rows)
        after = rows[-1].position if len(rows) == _PAGE else up_to


def _matches(filters: FeedFilters, event: FeedEvent) -> bool:
    return (
        (filters.signal_id is None or filters.signal_id == event.signal_id)
        and (not filters.event_types or event.event_type in filters.event_types)
        and (filters.user_id is None or (event.user is not None and filters.user_id == event.user.id))
    )


def _frame(event: FeedEvent) -> bytes:
    return b"id: %d\nevent: activity\ndata: %s\n\n" % (event.position, event.model_dump_json().encode())


def _end(code: str, detail: str) -> bytes:
    return b"event: end\ndata: %s\n\n" % json.dumps({"code": code, "detail": detail}).encode()
