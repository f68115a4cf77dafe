"""Somebody tries passwords as fast as they can: the owner gets in all the same, and nobody else notices."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import httpx
import pytest

from deploy.local.stack import LocalStack
from tests.e2e.api import PASSWORD, api
from tests.support.eventually import eventually

ATTEMPTS_PER_SECOND: Final = 200
ATTACKERS: Final = tuple(f"127.0.1.{number}" for number in range(1, 21))
"""Addresses of this machine, as the gateway sees them."""

OWNER: Final = "nursing@demo.example"


def caller(stack: LocalStack, address: str) -> httpx.AsyncClient:
    """Somebody at this address."""
    transport = httpx.AsyncHTTPTransport(local_address=address, limits=httpx.Limits(max_connections=50))
    return httpx.AsyncClient(transport=transport, base_url=stack.gateway_url, timeout=60)


@asynccontextmanager
async def flood(stack: LocalStack) -> AsyncIterator[Counter[int]]:
    """Attempts with wrong passwords from all attackers in turn; yields how often each status was answered."""
    statuses: Counter[int] = Counter()
    done = asyncio.Event()

    async def attempt(client: httpx.AsyncClient, number: int) -> None:
        body = {"email": OWNER, "password": f"wrong-password-{number}"}
        answer = await client.post("/api/auth/login", json=body)
        statuses[answer.status_code] += 1
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) > 0

    async def run(clients: list[httpx.AsyncClient]) -> None:
        running: set[asyncio.Task[None]] = set()
        number = 0
        while not done.is_set():
            # As fast as asked for, and no more at once than a machine that falls behind can bear.
            if len(running) < ATTEMPTS_PER_SECOND:
                task = asyncio.create_task(attempt(clients[number % len(clients)], number))
                running.add(task)
                task.add_done_callback(running.discard)
                number += 1
            await asyncio.sleep(1 / ATTEMPTS_PER_SECOND)
        await asyncio.gather(*running)

    async with AsyncExitStack() as stack_of_clients:
        clients = [await stack_of_clients.enter_async_context(caller(stack, address)) for address in ATTACKERS]
        task = asyncio.create_task(run(clients))
        try:
            yield statuses
        finally:
            done.set()
            await task


@pytest.mark.timeout(300)
@pytest.mark.parametrize("owners_address", ["127.0.0.1", "127.0.2.1"], ids=["known address", "fresh address"])
async def test_the_owner_gets_in_and_the_others_go_on(stack: LocalStack, owners_address: str) -> None:
    """Bounded by what it takes until every attacker's address has to wait: some forty checks of a password."""
    viewer, before = api(stack, "viewer"), api(stack, "nursing")
    await viewer.login()
    # Which makes its address a known one; the session goes on, too.
    await before.login()
    others: Counter[int] = Counter()
    owners: Counter[int] = Counter()
    async with flood(stack) as statuses, caller(stack, owners_address) as owner:

        async def under_attack() -> int:
            others[(await viewer.client.get("/api/signals", params={"limit": 1})).status_code] += 1
            return statuses[429]

        await eventually(under_attack, lambda refused: refused > 2 * ATTEMPTS_PER_SECOND, seconds=60)

        async def log_in() -> int:
            for path in ("/api/signals?limit=1", "/api/feed?limit=1", "/api/auth/me"):
                for session in (viewer, before):
                    others[(await session.client.get(path)).status_code] += 1
            answer = await owner.post("/api/auth/login", json={"email": OWNER, "password": PASSWORD})
            owners[answer.status_code] += 1
            return answer.status_code

        assert await eventually(log_in, lambda status: status == 200, seconds=150, every=0.5) == 200
    assert set(others) == {200}
    assert set(owners) <= {200, 429}
    assert set(statuses) <= {401, 429}
