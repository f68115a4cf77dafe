"""Whoever starts the process with the leaders, says how many are at work, and asks what they have seen."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from benchmarks.api_load.notes import Account, Followed, Requests
from deploy.local.processes import PROJECT_ROOT

_ANSWER_SECONDS: Final = 180.0
_STOP_SECONDS: Final = 20.0
_LONGEST_LINE: Final = 512 * 1024 * 1024


class Crowd:
    """The leaders behind one address; gone when the context ends."""

    def __init__(self, url: str, accounts: Sequence[Account], folder: Path) -> None:
        self._url = url
        self._accounts = accounts
        self._folder = folder
        self._log = folder / "logs" / "leaders.log"

    async def __aenter__(self) -> Self:
        file = self._folder / "accounts.json"
        file.write_bytes(msgspec.json.encode(self._accounts))
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.api_load.swarm", self._url, str(file)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=_LONGEST_LINE,
                cwd=PROJECT_ROOT,
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def at_work(self, users: int) -> None:
        """Have so many at work; returns when they all are."""
        await self._tell(f"users {users}", int)

    async def take(self) -> Requests:
        """The requests since the last time."""
        taken: Requests = await self._tell("take", Requests)
        return taken

    async def followed(self) -> list[Followed]:
        """What the streams have seen up to now."""
        file = self._folder / "streams.json"
        await self._tell(f"streams {file}", None)
        return msgspec.json.decode(file.read_bytes(), type=list[Followed])

    async def _tell(self, command: str, kind: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n".encode())
        answer = await asyncio.wait_for(self._process.stdout.readline(), _ANSWER_SECONDS)
        if not answer:
            raise RuntimeError(f"the leaders are gone: {self._log.read_text()[-2000:]}")
        return msgspec.json.decode(answer, type=kind)
