"""Passwords: hashing them takes a fifth of a second of a core by design, and must not take the service with it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Final, TypeVar

import bcrypt
from pwdlib.hashers.bcrypt import BcryptHasher
from pydantic import AfterValidator, StringConstraints

from shared.errors import TooManyRequestsError

FEWEST_BYTES: Final = 12
MOST_BYTES: Final = 72
"""What bcrypt takes in; it would ignore or refuse the rest."""

_RETRY_SECONDS: Final = "2"

_T = TypeVar("_T")


def _fits_bcrypt(password: str) -> str:
    if len(password.encode()) > MOST_BYTES:
        raise ValueError(f"must be at most {MOST_BYTES} bytes long")
    if "\0" in password:
        raise ValueError("must not hold a NUL character")
    return password


def _is_long_enough(password: str) -> str:
    if len(password.encode()) < FEWEST_BYTES:
        raise ValueError(f"must be at least {FEWEST_BYTES} bytes long")
    return password


GivenPassword = Annotated[str, StringConstraints(min_length=1), AfterValidator(_fits_bcrypt)]
"""A password that somebody logs in with."""

NewPassword = Annotated[GivenPassword, AfterValidator(_is_long_enough)]
"""A password that somebody chooses."""


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
