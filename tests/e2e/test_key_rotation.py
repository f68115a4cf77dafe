"""Signing keys change under load and nobody notices; the public keys are away and known ones go on."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from time import monotonic
from typing import Final

import httpx
import pytest
from joserfc import jws

from deploy.local.processes import PROJECT_ROOT
from deploy.local.stack import LocalStack
from shared.supervision import happens
from tests.e2e.api import PASSWORD
from tests.e2e.reconfigured import reconfigured
from tests.e2e.tokens import login
from tests.support.eventually import eventually

CACHE_SECONDS: Final = 1
TOKEN_SECONDS: Final = 5
REQUESTS_PER_SECOND: Final = 100
AWAY_SECONDS: Final = 60

SHORT: Final = {
    "COMPASS_JWKS_CACHE_SECONDS": str(CACHE_SECONDS),
    "COMPASS_ACCESS_TOKEN_SECONDS": str(TOKEN_SECONDS),
}
"""So a key signs seven seconds after it was published, instead of after seven minutes."""

READS: Final = ("/api/signals?limit=1", "/api/assignments?limit=1", "/api/feed?limit=1", "/api/auth/me")


@pytest.fixture
def hurried(stack: LocalStack) -> Iterator[LocalStack]:
    """A stack whose tokens, keys and caches live for seconds."""
    with reconfigured(stack, ["auth"], **SHORT):
        yield stack


class Caller:
    """A person who asks all services in turn, and refreshes in good time."""

    def __init__(self, stack: LocalStack) -> None:
        self.client = httpx.AsyncClient(base_url=stack.gateway_url, timeout=30)
        self.tokens: dict[str, str] = {}
        self.statuses: Counter[int] = Counter()
        self.kids: set[str] = set()
        self.refusals: list[str] = []

    async def log_in(self) -> None:
        """Begin a session."""
        body = {"email": "viewer@demo.example", "password": PASSWORD}
        self._keep(await self.client.post("/api/auth/login", json=body))

    async def refresh(self) -> None:
        """Take the next pair of tokens."""
        body = {"refresh_token": self.tokens["refresh_token"]}
        self._keep(await self.client.post("/api/auth/refresh", json=body))

    def _keep(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()
        self.kids.add(jws.extract_compact(self.tokens["access_token"].encode()).headers()["kid"])

    async def until(self, keys: int, asked: int = 0) -> None:
        """Go on until so many keys have signed its tokens and so many requests are answered."""

        async def seen() -> tuple[int, int]:
            return len(self.kids), self.statuses.total()

        await eventually(seen, lambda now: now[0] >= keys and now[1] >= asked, seconds=60)

    async def ask(self, path: str) -> None:
        """One request; what is not answered with 200 is kept word by word."""
        headers = {"authorization": f"Bearer {self.tokens['access_token']}"}
        answer = await self.client.get(path, headers=headers)
        self.statuses[answer.status_code] += 1
        if answer.status_code != 200:
            self.refusals.append(f"{path}: {answer.status_code} {answer.text}")


@asynccontextmanager
async def asking(stack: LocalStack) -> AsyncIterator[Caller]:
    """A hundred requests a second by one caller, whose token is renewed twice in its life."""
    caller, done = Caller(stack), asyncio.Event()
    await caller.log_in()

    async def renew() -> None:
        while not done.is_set():
            await happens(done, TOKEN_SECONDS / 2)
            await caller.refresh()

    async def ask() -> None:
        running: set[asyncio.Task[None]] = set()
        for path in cycle(READS):
            if done.is_set():
                break
            task = asyncio.create_task(caller.ask(path))
            running.add(task)
            task.add_done_callback(running.discard)
            await happens(done, 1 / REQUESTS_PER_SECOND)
        await asyncio.gather(*running)

    async with asyncio.TaskGroup() as group:
        group.create_task(renew())
        group.create_task(ask())
        try:
            yield caller
        finally:
            done.set()
    await caller.client.aclose()


def rotate(stack: LocalStack) -> None:
    """What an operator runs."""
    subprocess.run(
        [sys.executable, "-m", "services.auth.rotate_keys"],
        env=stack.service_environment("auth") | SHORT,
        cwd=PROJECT_ROOT,
        check=True,
        capture_output=True,
    )


@pytest.mark.timeout(300)
async def test_keys_change_twice_under_load_and_no_good_token_is_refused(hurried: LocalStack) -> None:
    async with asking(hurried) as caller:
        for keys in (2, 3):
            await asyncio.to_thread(rotate, hurried)
            await caller.until(keys=keys)
        # Long enough for the tokens of the first key to run out, and for those of the third to come everywhere.
        await caller.until(keys=3, asked=caller.statuses.total() + TOKEN_SECONDS * REQUESTS_PER_SECOND)
    assert caller.refusals == []
    assert set(caller.statuses) == {200}
    assert len(caller.kids) == 3


@pytest.mark.timeout(300)
async def test_known_keys_go_on_while_the_public_keys_are_away(stack: LocalStack) -> None:
    """Away for a minute, and sixty times as long as the gateway keeps them for.

    With tokens that the gateway has never seen, since it remembers those that it has found good.
    """
    with reconfigured(stack, ["auth"], COMPASS_JWKS_CACHE_SECONDS=str(CACHE_SECONDS)):
        unseen = [await asyncio.to_thread(login, stack, "viewer") for _ in range(AWAY_SECONDS // 5)]
        async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=30) as client:

            async def status(path: str, token: str) -> int:
                return (await client.get(path, headers={"authorization": f"Bearer {token}"})).status_code

            await asyncio.to_thread(stack.service("auth").stop)
            away, good, forged = monotonic(), Counter[int](), Counter[int]()
            while (seconds := monotonic() - away) < AWAY_SECONDS:
                token = unseen[int(seconds) // 5]
                good.update([await status(path, token) for path in READS[:3]])
                forged[await status(READS[0], f"{token[:-8]}AAAAAAAA")] += 1
                assert await status("/api/auth/me", token) == 503
            assert (set(good), set(forged)) == ({200}, {401})
            await asyncio.to_thread(stack.service("auth").start)
            await eventually(lambda: status("/api/auth/me", unseen[0]), lambda seen: seen == 200, seconds=60)
        assert await asyncio.to_thread(login, stack, "viewer")
