"""Answers that many ask for and that may be a little old, kept in memory as the bytes of their JSON."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic
from typing import Any, Final

import msgspec

KEPT_SECONDS: Final = 1.0
KEPT_AT_MOST_SECONDS: Final = 3.0
# An answer that is slow to make is kept longer, so that making it takes at most a twentieth of the time.
_KEPT_PER_SECOND: Final = 20.0
_MOST: Final = 64


class Answers:
    """Answers of the last second, or few. Whoever asks for one that is just being made waits for it."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[float, asyncio.Task[bytes]]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Any]]) -> bytes:
        """The JSON of what `make` returns, made unless it is there; what `make` raises is not kept."""
        now = monotonic()
        kept = self._kept.get(key)
        if kept is None or kept[0] <= now:
            if len(self._kept) >= _MOST:
                self._kept.clear()
            task = asyncio.create_task(self._make(key, make))
            task.add_done_callback(_retrieve)
            kept = self._kept[key] = (float("inf"), task)
        # One client that goes away must not take the answer from the others that wait for it.
        return await asyncio.shield(kept[1])

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[Any]]) -> bytes:
        started = monotonic()
        until = started
        try:
            answer = msgspec.json.encode(await make())
            took = monotonic() - started
            until = started + took + min(KEPT_AT_MOST_SECONDS, max(KEPT_SECONDS, took * _KEPT_PER_SECOND))
        finally:
            task = asyncio.current_task()
            kept = self._kept.get(key)
            if kept is not None and kept[1] is task:
                self._kept[key] = (until, kept[1])
        return answer


def _retrieve(task: asyncio.Task[bytes]) -> None:
    """A failure that nobody waits for any more is nobody's."""
    if not task.cancelled():
        task.exception()
