"""Running instances of the service, and streams of the feed that are read as a frontend reads them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from services.activity.consumers import SUBSCRIPTIONS
from shared.db import SessionMaker
from shared.events.topics import COMPASS_WORKFLOW
from shared.kafka import BatchProcessor
from tests.activity.events import messages
from tests.support.service import token


class Instance:
    """A running instance of the service, without Kafka."""

    def __init__(self, app: FastAPI, url: str) -> None:
        self.app = app
        self.url = url

    @asynccontextmanager
    async def stream(
        self, query: str = "", *, after: int | None = None, role: str = "viewer", **claims: Any
    ) -> AsyncIterator["Stream"]:
        """A stream that is being read."""
        headers = {"authorization": f"Bearer {token(role, **claims)}"}
        if after is not None:
            headers["last-event-id"] = str(after)
        async with (
            httpx.AsyncClient(base_url=self.url, timeout=20) as client,
            client.stream("GET", f"/api/feed/stream{query}", headers=headers) as answer,
        ):
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            stream = Stream(answer.aiter_lines())
            retry, begin = await stream.block()
            assert retry == "retry: 1000"
            assert after is None or begin == f"id: {after}"
            yield stream


class Stream:
    """The blocks of a stream, one after the other."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def block(self) -> list[str]:
        """The lines up to the next empty one; none at the end."""
        found: list[str] = []
        async with asyncio.timeout(15):
            async for line in self._lines:
                if not line:
                    return found
                found.append(line)
        return found

    async def events(self, count: int) -> list[dict[str, Any]]:
        """The next events of the feed."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            number, kind, data = await self.block()
            event = json.loads(data.removeprefix("data: "))
            assert (number, kind) == (f"id: {event['position']}", "event: activity")
            found.append(event)
        return found


async def record(committing: SessionMaker, *sent: dict[str, Any]) -> None:
    """Record events as one instance's consumer does."""
    process = BatchProcessor("activity", SUBSCRIPTIONS[1], committing)
    await process(messages(*sent, topic=COMPASS_WORKFLOW))
