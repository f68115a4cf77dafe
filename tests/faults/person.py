"""Somebody who works through the gateway: one action after the other, and in again when a session has ended."""

import asyncio
import json
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from time import monotonic
from typing import Any, Final
from uuid import UUID

import httpx

from tests.e2e.api import PASSWORD
from tests.faults.journal import Journal

ATTEMPTS: Final = 3
"""How often something is asked for that got no answer that says anything."""

_ANSWER_SECONDS: Final = 10.0


class Person:
    """One of the demo's users; `actions` are what they do, with how often they do it beside the others."""

    def __init__(self, random: Random, name: str, url: str, journal: Journal) -> None:
        self._random = random
        self._name = name
        self._client = httpx.AsyncClient(base_url=url, timeout=_ANSWER_SECONDS)
        self._journal = journal
        self._me: UUID | None = None

    def actions(self) -> Sequence[tuple[int, Callable[[], Awaitable[Any]]]]:
        """Each with its weight."""
        raise NotImplementedError

    async def run(self, seconds: float, every: float) -> None:
        """Work for so long."""
        end = monotonic() + seconds
        weights = [weight for weight, _ in self.actions()]
        acts = [act for _, act in self.actions()]
        async with self._client:
            while monotonic() < end:
                if self._me is None:
                    await self.log_in()
                else:
                    await self._random.choices(acts, weights)[0]()
                await asyncio.sleep(every)

    async def log_in(self) -> bool:
        """Begin a session; answers whether there is one."""
        body = {"email": f"{self._name}@demo.example", "password": PASSWORD}
        answer = await self.ask("POST", "/api/auth/login", body)
        if answer is None or answer.status_code != 200:
            return False
        token = answer.json()["access_token"]
        self._client.headers["authorization"] = f"Bearer {token}"
        claims = json.loads(urlsafe_b64decode(token.split(".")[1] + "=="))
        self._journal.sessions.append(UUID(claims["sid"]))
        self._me = UUID(claims["sub"])
        return True

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response | None:
        """The answer, or None where there was none."""
        try:
            answer = await self._client.request(method, path, json=body, headers=headers)
        except httpx.TransportError:
            self._journal.count(0)
            return None
        self._journal.count(answer.status_code)
        if answer.status_code == 401:
            self._me = None
        return answer

    async def repeat(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str] | None = None
    ) -> tuple[httpx.Response | None, bool]:
        """The first answer that says anything, and whether an attempt before it may have had its effect already."""
        unsure = False
        for attempt in range(ATTEMPTS):
            answer = await self.ask(method, path, body, headers)
            if answer is not None and answer.status_code == 401:
                await self.log_in()
            elif answer is not None and answer.status_code < 500:
                return answer, unsure
            else:
                unsure = True
            await asyncio.sleep(0.3 * 2**attempt)
        return None, unsure
