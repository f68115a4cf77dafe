"""What the commands of all services have in common: the configured database, patience, and an end by Ctrl-C."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from shared.db import SessionMaker, create_engine, create_session_maker, is_transient
from shared.moments import Moment
from shared.settings import ServiceSettings

Outcome = TypeVar("Outcome")

_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 10.0
_INTERRUPTED: Final = 130
_moments: Final[TypeAdapter[datetime]] = TypeAdapter(Moment)


@asynccontextmanager
async def database(settings: ServiceSettings, service: str) -> AsyncIterator[SessionMaker]:
    """Sessions of the configured database in the service's schema, with the runtime role."""
    engine = create_engine(settings, service)
    try:
        yield create_session_maker(engine)
    finally:
        await engine.dispose()


async def persist(work: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Do a piece of work that is one transaction, again with growing pauses while its failure may pass.

    A lost race, a deadlock or a restart of the database does not end a command that has hours behind it.
    """
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return await work()
        except Exception as error:
            if not is_transient(error):
                raise
            say(f"trying again in {pause:g} s: {error!r}")
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run a command's work; answers its exit status, also where somebody ends it by Ctrl-C."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        say("interrupted")
        return _INTERRUPTED


def moment(given: str) -> datetime:
    """The type of an argument that is a moment.

    Raises:
        argparse.ArgumentTypeError: for what is none.
    """
    try:
        return _moments.validate_python(given)
    except ValidationError as error:
        raise argparse.ArgumentTypeError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def tell(line: str) -> None:
    """A line of the command's answer."""
    print(line, flush=True)  # noqa: T201 - a command's answer


def say(line: str) -> None:
    """A line about the command itself, beside its answer."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a command's answer
