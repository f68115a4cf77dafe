"""A reader of the live feed, who connects again wherever the connection is cut."""

import asyncio
import json
from typing import Any

import httpx

from tests.e2e.api import Api


class Follower:
    """A reader as a frontend has it: it connects again and again, with the last id that it has seen."""

    def __init__(self, person: Api, query: str = "") -> None:
        self._person = person
        self._path = f"/api/feed/stream{query}"
        self._last: str | None = None
        self.signals: list[str] = []
        self.positions: list[int] = []
        self.connections = 0
        self.connected = asyncio.Event()
        self.last_words: list[str] = []

    async def run(self) -> None:
        while True:
            try:
                await self._read()
            except httpx.TransportError:
                await asyncio.sleep(0.1)

    async def _read(self) -> None:
        headers = {} if self._last is None else {"last-event-id": self._last}
        async with self._person.client.stream("GET", self._path, headers=headers, timeout=30) as answer:
            if answer.status_code != 200:
                await asyncio.sleep(0.2)
                return
            self.connections += 1
            event: dict[str, str] = {}
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if line:
                    event[name] = value
                    continue
                self._take(event)
                event = {}

    def _take(self, event: dict[str, str]) -> None:
        self._last = event.get("id", self._last)
        self.connected.set()
        if event.get("event") == "activity":
            told: dict[str, Any] = json.loads(event["data"])
            self.signals.append(told["signal_id"])
            self.positions.append(told["position"])
        elif "event" in event:
            self.last_words.append(event["event"])
