"""Waiting in tests: by polling with a deadline, never by sleeping for as long as it might take."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

Result = TypeVar("Result")


async def eventually(
    look: Callable[[], Awaitable[Result]],
    until: Callable[[Result], bool] = bool,
    *,
    seconds: float = 20.0,
    every: float = 0.05,
) -> Result:
    """Look again and again until the condition holds; fails with what was seen last."""
    deadline = monotonic() + seconds
    while True:
        seen = await look()
        if until(seen):
            return seen
        if monotonic() > deadline:
            raise AssertionError(f"not seen within {seconds:g} s; last seen: {seen!r}")
        await asyncio.sleep(every)
