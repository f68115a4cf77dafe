"""Passwords: hashing them takes a fifth of a second of a core by design, and must not take the service with it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import bcrypt
from pwdlib.hashers.bcrypt import BcryptHasher

from shared.errors import TooManyRequestsError

_RETRY_SECONDS: Final = "2"

_T = TypeVar("_T")


class Passwords:
    """Hashes and verifies in a few threads of their own; who would have to wait too long is sent away."""

    def __init__(self, cost: int, workers: int, queue: int) -> None:
        self._hasher = BcryptHasher(rounds=cost)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="password")
        self._most = workers + queue
        self._waiting = 0
        # No password has this hash, and checking one against it takes as long as against any other.
        self._of_nobody = bcrypt.gensalt(cost).decode() + "." * 31

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Whether it is the password; takes the same time for an account that has none or does not exist (None).

        Raises:
            TooManyRequestsError: while too many wait already.
        """
        matches = await self._in_turn(lambda: self._hasher.verify(password, hashed or self._of_nobody))
        return matches and hashed is not None

    async def hash(self, password: str) -> str:
        """The hash to store.

        Raises:
            TooManyRequestsError: while too many wait already.
        """
        return await self._in_turn(lambda: self._hasher.hash(password))

    async def _in_turn(self, work: Callable[[], _T]) -> _T:
        if self._waiting >= self._most:
            detail = "Too many people are logging in at this moment. Try again shortly."
            raise TooManyRequestsError(detail, headers={"retry-after": _RETRY_SECONDS})
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1
