"""Passwords: hashing them takes a fifth of a second of a core by design, and must not take the service with it."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import bcrypt
from pwdlib.hashers.bcrypt import BcryptHasher

from services.auth import password_rules
from services.auth.turns import Caller, Turns

_NICER_BY: Final = 10
_NICEST: Final = 19

_T = TypeVar("_T")


class Passwords:
    """Hashes and verifies in a few threads of their own; who would have to wait too long is sent away."""

    def __init__(self, cost: int, workers: int, queue: int) -> None:
        self._hasher = BcryptHasher(rounds=cost)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="password", initializer=_step_back)
        self._turns = Turns(workers, queue)
        # No password has this hash, and checking one against it takes as long as against any other.
        self._of_nobody = bcrypt.gensalt(cost).decode() + "." * 31

    async def verify(self, caller: Caller, password: str, hashed: str | None) -> bool:
        """Whether it is the password; takes the same time for an account that has none or does not exist (None).

        Raises:
            TooManyRequestsError: while too many wait already.
        """
        matches = await self._in_turn(caller, lambda: self._hasher.verify(password, hashed or self._of_nobody))
        return matches and hashed is not None

    async def hash(self, caller: Caller, password: str) -> str:
        """The hash to store.

        Raises:
            TooManyRequestsError: while too many wait already.
        """
        return await self._in_turn(caller, lambda: self._hasher.hash(password))

    async def complaint(self, caller: Caller, password: str, email: str, name: str) -> str | None:
        """Why the person may not choose this password; None where it is good.

        Raises:
            TooManyRequestsError: while too many wait already.
        """
        return await self._in_turn(caller, lambda: password_rules.complaint(password, email, name))

    async def _in_turn(self, caller: Caller, work: Callable[[], _T]) -> _T:
        await self._turns.take(caller)
        loop = asyncio.get_running_loop()

        def ended(_: Future[_T]) -> None:
            loop.call_soon_threadsafe(self._turns.done, caller)

        # The turn lasts as long as the thread is busy, also where nobody waits for the outcome any more.
        future = self._pool.submit(work)
        future.add_done_callback(ended)
        return await asyncio.wrap_future(future)


def _step_back() -> None:
    """Let this thread have what the others leave: requests that need no password come first."""
    if sys.platform == "linux":
        # On Linux a thread has a niceness of its own.
        thread = threading.get_native_id()
        nicer = min(os.getpriority(os.PRIO_PROCESS, thread) + _NICER_BY, _NICEST)
        os.setpriority(os.PRIO_PROCESS, thread, nicer)
