"""Background work that goes on as long as the service does: what ends before its time is begun again.

An unexpected error is a defect, and the log says so each time; but a service without its upkeep or its relay is worse
than one whose upkeep failed once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from time import monotonic
from typing import Any, Final, NoReturn
from uuid import uuid4

import structlog

from shared.db import is_transient
from shared.telemetry import WORKER_RESTARTS, Cause, set_cause

logger = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
HEALTHY_SECONDS: Final = 60.0
"""Work that went on for so long before it ended begins again after the first pause."""


class Supervised:
    """One worker, and whether it works at this moment."""

    def __init__(
        self,
        name: str,
        work: Callable[[], Coroutine[Any, Any, None]],
        *,
        first_pause: float = FIRST_PAUSE_SECONDS,
        longest_pause: float = LONGEST_PAUSE_SECONDS,
    ) -> None:
        self.name = name
        self._work = work
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._working = True

    @property
    def is_down(self) -> bool:
        """Whether it has ended and waits to be begun again."""
        return not self._working

    async def run(self) -> None:
        """Work until cancelled; after an end that nobody asked for, again, with growing pauses."""
        pause = self._first_pause
        while True:
            began = monotonic()
            self._working = True
            error = await self._end_of_work()
            self._working = False
            if monotonic() - began >= HEALTHY_SECONDS:
                pause = self._first_pause
            WORKER_RESTARTS.labels(self.name).inc()
            logger.error("a worker ended, beginning again", worker=self.name, pause_seconds=pause, exc_info=error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._longest_pause)

    async def _end_of_work(self) -> BaseException | None:
        """Why the work ended; None where it simply returned."""
        try:
            await self._work()
        except asyncio.CancelledError as error:
            # Of this task, it is the service's end; of something that the work waited for, a failure like any other.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return error
        except Exception as error:  # noqa: BLE001 - whatever it was, it is logged, and the work goes on
            return error
        return None


async def happens(event: asyncio.Event, within_seconds: float) -> bool:
    """Whether the event is set within so long; for loops that are told of news and look now and then without.

    Not ``asyncio.wait_for``: before Python 3.12 it forgets a cancellation that comes in the moment in which what it
    waits for happens, and a worker that lost its only cancellation goes on for ever.
    """
    try:
        async with asyncio.timeout(within_seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def end_all(tasks: Collection[asyncio.Task[None]], patience_seconds: float = 5.0) -> None:
    """Cancel the tasks and wait until all have ended.

    What has not ended within the patience, which should be longer than its cleaning up takes, is cancelled again: the
    first time may have been lost in a library. What a task raises instead is logged, since the service ends anyway.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=patience_seconds)
        for task in ended:
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("a worker did not end cleanly", worker=task.get_name(), exc_info=error)


async def look_again(what: str, look: Callable[[], Awaitable[bool]], every_seconds: float) -> NoReturn:
    """Look until cancelled: at once again while a look says that there may be more to do, else after a while.

    A database that is away, or a race that was lost, is waited for, for a second at most; any other failure is raised.
    Each look is the cause of what it tells, which is none that a request or a message has caused. ``what`` is for the
    log.
    """
    while True:
        pause = every_seconds
        set_cause(Cause(str(uuid4())))
        try:
            if await look():
                pause = 0.0
        except Exception as error:
            if not is_transient(error):
                raise
            pause = min(every_seconds, FIRST_PAUSE_SECONDS)
            logger.warning("a worker has to wait for the database", work=what, error=repr(error))
        await asyncio.sleep(pause)
