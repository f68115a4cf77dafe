"""Passwords: hashing them takes a fifth of a second of a core by design, and must not take the service with it."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

import bcrypt
from pwdlib.hashers.bcrypt import BcryptHasher

from services.auth import password_rules
from services.auth.turns import Caller, Turns

_NICER_BY: Final = 10
_NICEST: Final = 19

_T = TypeVar("_T")


class Turn:
    """Somebody's time with one of the threads."""

    def __init__(self, pool: ThreadPoolExecutor, hasher: BcryptHasher, of_nobody: str) -> None:
        self._pool = pool
        self._hasher = hasher
        self._of_nobody = of_nobody
        self._busy: Future[Any] | None = None

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Whether it is the password; takes the same time for an account that has none or does not exist (None)."""
        matches = await self._run(lambda: self._hasher.verify(password, hashed or self._of_nobody))
        return matches and hashed is not None

    async def hash(self, password: str) -> str:
        """The hash to store."""
        return await self._run(lambda: self._hasher.hash(password))

    async def complaint(self, password: str, email: str, name: str) -> str | None:
        """Why the person may not choose this password; None where it is good."""
        return await self._run(lambda: password_rules.complaint(password, email, name))

    def when_idle(self, act: Callable[[], None]) -> None:
        """Act once the thread is free: it works on where nobody waits for the outcome any more."""
        if self._busy is None or self._busy.done():
            act()
            return
        loop = asyncio.get_running_loop()
        self._busy.add_done_callback(lambda _: loop.call_soon_threadsafe(act))

    async def _run(self, work: Callable[[], _T]) -> _T:
        future = self._busy = self._pool.submit(work)
        return await asyncio.wrap_future(future)


class Passwords:
    """Hashes and verifies in a few threads of their own; who would have to wait too long is sent away."""

    def __init__(self, cost: int, workers: int, queue: int) -> None:
        self._hasher = BcryptHasher(rounds=cost)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="password", initializer=_step_back)
        self._turns = Turns(workers, queue)
        # No password has this hash, and checking one against it takes as long as against any other.
        self._of_nobody = bcrypt.gensalt(cost).decode() + "." * 31

    def has_other_cost(self, hashed: str) -> bool:
        """Whether the cost has been changed since it was hashed."""
        return self._hasher.check_needs_rehash(hashed)

    @asynccontextmanager
    async def turn(self, caller: Caller) -> AsyncIterator[Turn]:
        """Wait for a thread, and keep the others waiting until the end of the block.

        Raises:
            TooManyRequestsError: while too many wait already.
        """
        await self._turns.take(caller)
        turn = Turn(self._pool, self._hasher, self._of_nobody)
        try:
            yield turn
        finally:
            turn.when_idle(partial(self._turns.done, caller))


def _step_back() -> None:
    """Let this thread have what the others leave: requests that need no password come first."""
    if sys.platform == "linux":
        # On Linux a thread has a niceness of its own.
        thread = threading.get_native_id()
        nicer = min(os.getpriority(os.PRIO_PROCESS, thread) + _NICER_BY, _NICEST)
        os.setpriority(os.PRIO_PROCESS, thread, nicer)
