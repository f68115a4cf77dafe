"""The feed live: every instance of the service hears of every event and passes it on to its own readers.

One connection per instance listens for what `repository_audit.append` notifies at commit, and looks every second all
the same. What is new is read once, by position, and encoded once, however many readers it goes to. Since positions
follow the order of commit without holes, "all after position N" is the same on every instance, today and after a
restart: that is what a reader resumes by.
"""

import asyncio
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

import asyncpg
from fastapi import FastAPI
from prometheus_client import Counter, Gauge

from services.activity import repository, repository_reads
from services.activity.repository_filters import FeedFilters
from services.activity.schemas import FeedEvent
from services.activity.settings import ActivitySettings
from shared.db import Reading
from shared.errors import TooManyRequestsError, UnavailableError
from shared.supervision import happens
from shared.telemetry import logger

CHANNEL: Final = "activity_feed"
READERS: Final = Gauge("compass_activity_stream_readers", "Open streams of the feed.")
DROPPED: Final = Counter("compass_activity_stream_dropped_total", "Streams ended because the reader was too slow.")
REFUSED: Final = Counter("compass_activity_stream_refused_total", "Streams refused because there are too many.")

PAGE: Final = 500
_POLL_SECONDS: Final = 1.0
_READY_SECONDS: Final = 5.0
_LONGEST_QUEUE: Final = 1000
_RETRY_AFTER: Final = {"retry-after": "5"}


class Reader:
    """What one reader still has to be sent, and which events it wants."""

    def __init__(self, filters: FeedFilters, after: int) -> None:
        self._filters = filters
        self._after = after
        self._frames: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.too_slow = False
        self.closed = False
        """Nobody reads any more, or the service stops: there is nothing to wait for."""

    def offer(self, event: FeedEvent, frame: bytes) -> None:
        """Take an event that the reader wants and does not have; forget all about a reader that is too far behind."""
        if event.position <= self._after or self.too_slow or not _matches(self._filters, event):
            return
        if len(self._frames) >= _LONGEST_QUEUE:
            self.too_slow = True
            self._frames.clear()
            DROPPED.inc()
        else:
            self._frames.append(frame)
        self._wake()

    def close(self) -> None:
        """End the wait, now and from now on."""
        self.closed = True
        self._wake()

    async def take(self, seconds: float) -> bytes:
        """The frames that wait, after waiting for the first so long at most."""
        if not self._frames and not self.too_slow and not self.closed:
            loop = asyncio.get_running_loop()
            # Hundreds of readers wait anew after each event: a task for each wait would cost more than all else.
            self._waiter = loop.create_future()
            timer = loop.call_later(seconds, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        frames = b"".join(self._frames)
        self._frames.clear()
        return frames

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Hub:
    """All readers of this instance, and how far the feed has been passed on to them."""

    def __init__(self) -> None:
        self.position = 0
        self.stopping = False
        self._ready = asyncio.Event()
        self._news = asyncio.Event()
        # By the signal that a reader wants, None for those that want all: an event looks at nobody else's readers.
        self._readers: dict[UUID | None, set[Reader]] = {}
        self._streams: Tally[UUID] = Tally()

    async def run(self, app: FastAPI) -> None:
        """Pass on what is stored until cancelled; while the database is away, readers wait."""
        settings: ActivitySettings = app.state.settings
        end = asyncio.create_task(self._end_with(app.state.stopping))
        try:
            while True:
                try:
                    await self._listen(settings)
                except Exception as error:  # noqa: BLE001 - whatever it is, readers wait for the next attempt
                    logger.warning("the feed's stream is interrupted, trying again", error=repr(error))
                    await asyncio.sleep(_POLL_SECONDS)
        finally:
            end.cancel()

    async def _end_with(self, stopping: asyncio.Event) -> None:
        """Send all readers away when the service stops: it would wait for them, and they know where to go on."""
        await stopping.wait()
        self.stopping = True
        for readers in self._readers.values():
            for reader in readers:
                reader.close()

    async def _listen(self, settings: ActivitySettings) -> None:
        # It reads what it hears of on the same connection: nothing is waited for, neither a pool nor a transaction.
        connection = await asyncpg.connect(
            str(settings.database_url),
            timeout=5,
            command_timeout=settings.statement_timeout_seconds,
            server_settings={
                "search_path": "activity",
                "application_name": "compass-activity-stream",
                "timezone": "UTC",
                # The few statements here go by position: planning them anew for each event took longer than they do.
                "plan_cache_mode": "force_generic_plan",
            },
        )
        reading = Reading(connection)
        try:
            await connection.add_listener(CHANNEL, lambda *_: self._news.set())
            if not self._ready.is_set():
                self.position = await repository_reads.head(reading)
                self._ready.set()
            while not connection.is_closed():
                self._news.clear()
                await self._pass_on(reading)
                await happens(self._news, _POLL_SECONDS)
        finally:
            connection.terminate()

    async def _pass_on(self, reading: Reading) -> None:
        while True:
            up_to = self.position + PAGE
            rows = await repository.stored_after(reading, self.position, up_to, FeedFilters(), None, PAGE)
            for row in rows:
                self._offer(FeedEvent.of(row))
            if len(rows) < PAGE:
                return

    def _offer(self, event: FeedEvent) -> None:
        wanted = {None, event.signal_id} & self._readers.keys()
        frame = frame_of(event) if wanted else b""
        for signal_id in wanted:
            for reader in self._readers[signal_id]:
                reader.offer(event, frame)
        self.position = event.position

    async def ready(self) -> None:
        """Return when the hub knows where the feed ends.

        Raises:
            UnavailableError: if it does not find out in time.
        """
        if not await happens(self._ready, _READY_SECONDS):
            raise UnavailableError("The feed cannot be followed at the moment.")

    @contextmanager
    def admit(self, user_id: UUID, settings: ActivitySettings) -> Iterator[None]:
        """Count a stream of this user.

        Raises:
            TooManyRequestsError: for one more than a user may have on this instance.
            UnavailableError: where the instance has as many as it can serve, or stops.
        """
        if self._streams[user_id] >= settings.stream_limit_per_user:
            REFUSED.inc()
            detail = f"There are {settings.stream_limit_per_user} open streams already: close one."
            raise TooManyRequestsError(detail, "too_many_streams", headers=_RETRY_AFTER)
        if self.stopping or self._streams.total() >= settings.stream_limit:
            REFUSED.inc()
            raise UnavailableError("No more streams can be served at the moment.", "too_many_streams")
        self._streams[user_id] += 1
        READERS.inc()
        try:
            yield
        finally:
            READERS.dec()
            self._streams[user_id] -= 1
            if not self._streams[user_id]:
                del self._streams[user_id]

    @contextmanager
    def join(self, filters: FeedFilters, after: int) -> Iterator[Reader]:
        """A reader of every matching event that the hub passes on from now, and that comes after the position."""
        reader = Reader(filters, after)
        reader.closed = self.stopping
        readers = self._readers.setdefault(filters.signal_id, set())
        readers.add(reader)
        try:
            yield reader
        finally:
            readers.discard(reader)
            if not readers:
                self._readers.pop(filters.signal_id, None)


def frame_of(event: FeedEvent) -> bytes:
    """An event as readers are sent it."""
    return b"id: %d\nevent: activity\ndata: %s\n\n" % (event.position, event.model_dump_json().encode())


def _matches(filters: FeedFilters, event: FeedEvent) -> bool:
    return (
        (filters.signal_id is None or filters.signal_id == event.signal_id)
        and (not filters.event_types or event.event_type in filters.event_types)
        and (filters.user_id is None or (event.user is not None and filters.user_id == event.user.id))
    )
