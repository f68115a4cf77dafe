"""Few messages of several members of a group, stored together: a transaction costs much the same for two and for ten.

As databases commit for several sessions at once: while one transaction runs, what the other members have read waits,
and all of it is the next one. Nobody waits for messages that may never come.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from shared.inbox import Message

# Members that have waited for the same moment hand on within this time what they have read.
_TOGETHER_SECONDS: Final = 0.001


class Gathering:
    """What the members of one group in this process have read, a transaction after the other.

    ``store`` returns when the effects of the messages are stored.
    """

    def __init__(self, store: Callable[[Sequence[Message]], Awaitable[None]]) -> None:
        self._store = store
        self._waiting: list[tuple[Sequence[Message], asyncio.Future[None]]] = []
        self.task: asyncio.Task[None] | None = None
        """What stores at present; it goes on though the members that wait for it are cancelled."""

    async def __call__(self, messages: Sequence[Message]) -> None:
        """Return when the effects of these messages are stored."""
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append((messages, stored))
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._store_what_waits())
        await stored

    async def _store_what_waits(self) -> None:
        await asyncio.sleep(_TOGETHER_SECONDS)
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                await self._store([message for messages, _ in waiting for message in messages])
            except BaseException:
                # Not stored, as far as anybody knows: whoever waits reads its messages again.
                for _, stored in waiting + self._waiting:
                    stored.cancel()
                self._waiting = []
                raise
            for _, stored in waiting:
                if not stored.done():
                    stored.set_result(None)
