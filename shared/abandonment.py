"""A reader that hangs up ends what the service does for it: the request is cancelled, and so is its query.

Without it a query goes on in PostgreSQL although nobody waits for its rows. Cancelling reaches asyncpg, which asks the
server to cancel the statement; the session rolls back and gives its connection back to the pool.
"""

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What is answered before is not worth watching; together with the cancelling it stays well below a second.
UNWATCHED_SECONDS: Final = 0.25

# Reads only: a write whose client has gone may be committing, and shall be done or not done by itself.
_METHODS: Final = frozenset({"GET", "HEAD"})
_DISCONNECT: Final[Message] = {"type": "http.disconnect"}


class EndsWithItsClient:
    """ASGI middleware that cancels a read whose client goes away before the answer begins.

    From then on the answer itself notices: Starlette's streams listen for the end of their client.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        task = asyncio.current_task()
        if scope["type"] != "http" or scope["method"] not in _METHODS or task is None:
            await self._app(scope, receive, send)
            return
        watch = _Watch(task, receive)

        async def send_watched(message: Message) -> None:
            watch.answering = True
            await send(message)

        watch.begin_later()
        try:
            await self._app(scope, watch.receive, send_watched)
            if watch.cancelled:
                await asyncio.sleep(0)  # the request ended by itself in the same moment: meet the cancelling here
        except asyncio.CancelledError:
            if not watch.cancelled or task.uncancel() > 0:
                raise
        finally:
            watch.end()


class _Watch:
    """Reads the client's side of a request that takes long, for the application and for its end.

    Only one may wait for the server's next message. Until the watch begins it is the application, afterwards the
    watch, which passes on what comes.
    """

    def __init__(self, task: asyncio.Task[object], receive: Receive) -> None:
        self.answering = False
        self.cancelled = False
        self._task = task
        self._receive = receive
        self._receiving = False
        self._passed_on: asyncio.Queue[Message] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.Task[None] | None = None

    def begin_later(self) -> None:
        """Begin in a moment, unless the request is answered by then."""
        self._timer = asyncio.get_running_loop().call_later(UNWATCHED_SECONDS, self._begin)

    def end(self) -> None:
        """The request is over."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()

    async def receive(self) -> Message:
        """The server's next message, for the application."""
        if self._passed_on is not None:
            message = await self._passed_on.get()
            if message["type"] == "http.disconnect":
                self._passed_on.put_nowait(message)  # told whenever asked
            return message
        self._receiving = True
        try:
            return await self._receive()
        finally:
            self._receiving = False

    def _begin(self) -> None:
        if self.answering:
            return
        if self._receiving:
            self.begin_later()
            return
        self._passed_on = asyncio.Queue()
        self._watching = asyncio.create_task(self._watch(self._passed_on))

    async def _watch(self, passed_on: asyncio.Queue[Message]) -> None:
        message = await self._receive()
        while message["type"] != "http.disconnect":
            passed_on.put_nowait(message)
            message = await self._receive()
        passed_on.put_nowait(_DISCONNECT)
        if not self.answering:
            self.cancelled = True
            self._task.cancel("the client has gone")
