"""Who is next where only a few can be served at once, fairly also while somebody asks hundreds of times a second.

Two lines: callers who are known (they have been let in from this place before, or hold a token) go before strangers.
Strangers fill at most three quarters of the room, one account at most eight places of it, so that an attack on one
account, from however many places, neither keeps the others out nor its owner who is where they usually are. Nobody
waits longer than somebody in front of a screen would: who has not been served by then is asked to come back.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from shared.errors import TooManyRequestsError

MOST_PER_PARTY: Final = 8
_STRANGERS_SHARE: Final = 0.75
_RETRY_SECONDS: Final = "2"

_LONGEST_WAIT_SECONDS: Final = 10.0
"""A login waits at two places, and both together must be over before the gateway gives the request up."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: those with the same ``party`` share their places."""

    party: str
    is_known: bool


class Turns:
    """So many at once, and so many more who wait, for a limited time."""

    def __init__(self, at_once: int, waiting: int, longest_wait_seconds: float = _LONGEST_WAIT_SECONDS) -> None:
        self._longest_wait_seconds = longest_wait_seconds
        self._free = at_once
        self._most = at_once + waiting
        self._most_strangers = max(at_once, int(self._most * _STRANGERS_SHARE))
        self._present: Counter[Caller] = Counter()
        self._known: deque[asyncio.Future[None]] = deque()
        self._strangers: deque[asyncio.Future[None]] = deque()

    async def take(self, caller: Caller) -> None:
        """Wait for a turn; the caller calls `done` afterwards, whatever happened.

        Raises:
            TooManyRequestsError: where there is no room to wait, or the wait was too long.
        """
        strangers = sum(count for other, count in self._present.items() if not other.is_known)
        if (
            self._present.total() >= self._most
            or self._present[caller] >= MOST_PER_PARTY
            or (not caller.is_known and strangers >= self._most_strangers)
        ):
            raise _come_back()
        self._present[caller] += 1
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        (self._known if caller.is_known else self._strangers).append(turn)
        try:
            async with asyncio.timeout(self._longest_wait_seconds):
                await turn
        except (asyncio.CancelledError, TimeoutError) as ended:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            self._leave(caller)
            if isinstance(ended, TimeoutError):
                raise _come_back() from None
            raise

    @asynccontextmanager
    async def turn(self, caller: Caller) -> AsyncIterator[None]:
        """A turn that lasts as long as the block.

        Raises:
            TooManyRequestsError: as `take` does.
        """
        await self.take(caller)
        try:
            yield
        finally:
            self.done(caller)

    def done(self, caller: Caller) -> None:
        """Give the turn to the next."""
        self._pass_on()
        self._leave(caller)

    def _pass_on(self) -> None:
        for line in (self._known, self._strangers):
            while line:
                turn = line.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1

    def _leave(self, caller: Caller) -> None:
        self._present[caller] -= 1
        if not self._present[caller]:
            del self._present[caller]


def _come_back() -> TooManyRequestsError:
    detail = "Too many people are logging in at this moment. Try again shortly."
    return TooManyRequestsError(detail, headers={"retry-after": _RETRY_SECONDS})
