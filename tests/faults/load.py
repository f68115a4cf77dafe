"""The mixed load of a run: an engine that publishes, and leaders who work on what it found."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from time import monotonic
from typing import Any, Final
from uuid import UUID

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tests.e2e.api import id_of
from tests.faults.engine import EngineLoad, Outgoing
from tests.faults.journal import Action, Journal, Outcome, Write
from tests.faults.person import Person

_ACKNOWLEDGE_SECONDS: Final = 12.0
_ROLES: Final = {
    "clinical": "clinical_leadership",
    "nursing": "nursing_leadership",
    "administration": "administration",
}
_KINDS: Final = ("playbook", "protocol_change", "staffing", "education", "ai_agent")


class Engine:
    """Publishes what `EngineLoad` makes; a producer that fails is replaced, and its messages' fate is unknown."""

    def __init__(self, bootstrap_servers: str, load: EngineLoad, journal: Journal) -> None:
        self._servers = bootstrap_servers
        self._load = load
        self._journal = journal
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def run(self, seconds: float, every: float) -> None:
        """Publish for so long; what is in the air at the end is waited for."""
        end = monotonic() + seconds
        sending: set[asyncio.Task[None]] = set()
        while monotonic() < end:
            task = asyncio.create_task(self._send(self._load.next()))
            sending.add(task)
            task.add_done_callback(sending.discard)
            await asyncio.sleep(every)
            # One wave after the other while Kafka is slow: order within an entity is the engine's own affair.
            while len(sending) > 4:
                await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*sending)
        await self._close()

    async def _send(self, messages: Sequence[Outgoing]) -> None:
        producer = None
        try:
            async with asyncio.timeout(_ACKNOWLEDGE_SECONDS):
                producer = await self._ready()
                futures = [
                    await producer.send(m.topic, m.value, m.key, partition=m.partition, headers=list(m.headers))
                    for m in messages
                ]
                places = await asyncio.gather(*futures, return_exceptions=True)
            for message, place in zip(messages, places, strict=True):
                if isinstance(place, BaseException):
                    raise place
                self._journal.acknowledged.append(
                    (place.topic, place.partition, place.offset, message.key, message.value)
                )
        except (KafkaError, OSError, TimeoutError):
            if producer is not None and producer is self._producer:
                await self._close()

    async def _ready(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._servers, acks="all", enable_idempotence=True, request_timeout_ms=8000
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(5):
                    await producer.stop()


class Leader(Person):
    """Assigns, moves and notes, and tries again with the same key when no answer comes."""

    def __init__(self, seed: int, name: str, url: str, load: EngineLoad, journal: Journal) -> None:
        super().__init__(Random(f"leader {seed} {name}"), name, url, journal)  # noqa: S311 - to be the same again
        self._seed = seed
        self._load = load
        self._number = 0
        self._assignees: list[dict[str, str]] = []
        self._mine: list[UUID] = []

    def actions(self) -> Sequence[tuple[int, Callable[[], Awaitable[Any]]]]:
        """Each with its weight."""
        return (
            (5, self._assign),
            (5, self._move),
            (3, self._comment),
            (1, self._intervene),
            (2, self._snooze),
            (1, self._bulk),
            (2, self._read),
            (1, self.log_in),
        )

    async def log_in(self) -> bool:
        """Begin a session, and learn once who can be given work."""
        if not await super().log_in():
            return False
        if not self._assignees:
            found = await self.ask("GET", "/api/assignees")
            if found is not None and found.status_code == 200:
                self._assignees = [one for one in found.json()["assignees"] if one["role"] in _ROLES.values()]
        return True

    async def _read(self) -> None:
        await self.ask("GET", self._random.choice(("/api/signals?limit=5", "/api/feed?limit=5", "/api/assignments")))

    async def _assign(self) -> None:
        signal = self._some_signal()
        if signal is None or not self._assignees:
            return
        marker = self._marker()
        headers = {}
        if signal in self._mine:
            shown = await self.ask("GET", f"/api/signals/{signal}/assignment")
            if shown is None or shown.status_code != 200:
                return
            headers["if-match"] = shown.headers["etag"]
        outcome = await self._write("POST", f"/api/signals/{signal}/assign", self._assignment(marker), marker, headers)
        self._journal.writes.append(Write(Action.ASSIGN, marker, outcome))
        if outcome is not Outcome.REFUSED:
            self._mine.append(signal)

    def _assignment(self, marker: str) -> dict[str, Any]:
        assignee = self._random.choice(self._assignees)
        return {"assignee_id": assignee["id"], "role_type": assignee["role"], "notes": marker}

    async def _move(self) -> None:
        if not self._mine:
            return
        signal = self._random.choice(self._mine[-6:])
        shown = await self.ask("GET", f"/api/signals/{signal}/assignment")
        if shown is None or shown.status_code != 200:
            return
        allowed = [status for status in shown.json()["allowed_next_statuses"] if shown.json()["status"] != "new"]
        if not allowed:
            return
        marker = self._marker()
        body = self._moved(self._random.choice(allowed), marker)
        outcome = await self._write("PATCH", f"/api/signals/{signal}/status", body, marker)
        self._journal.writes.append(Write(Action.MOVE, marker, outcome))

    def _moved(self, status: str, marker: str) -> dict[str, Any]:
        return {"status": status, "notes": marker} | ({"resolution_notes": "Done."} if status == "resolved" else {})

    async def _comment(self) -> None:
        await self._note(Action.COMMENT, "comments", lambda marker: {"text": marker})

    async def _intervene(self) -> None:
        def body(marker: str) -> dict[str, Any]:
            return {"kind": self._random.choice(_KINDS), "title": marker}

        await self._note(Action.INTERVENE, "interventions", body)

    async def _snooze(self) -> None:
        def body(marker: str) -> dict[str, Any]:
            until = datetime.now(UTC) + timedelta(days=self._random.randint(1, 60))
            end = {"until_worse": True} if self._random.random() < 0.5 else {"until": until.isoformat()}
            return {"notes": marker, **end}

        await self._note(Action.SNOOZE, "snooze", body)

    async def _note(self, action: Action, path: str, body: Callable[[str], dict[str, Any]]) -> None:
        signal = self._some_signal()
        if signal is not None:
            marker = self._marker()
            outcome = await self._write("POST", f"/api/signals/{signal}/{path}", body(marker), marker)
            self._journal.writes.append(Write(action, marker, outcome))

    async def _bulk(self) -> None:
        if not self._assignees:
            return
        items: list[dict[str, Any]] = []
        actions = []
        for _ in range(self._random.randint(2, 8)):
            signal, marker = self._some_signal(), self._marker()
            if signal is None:
                continue
            if signal in self._mine:
                items.append({"signal_id": str(signal), "move": self._moved("in_progress", marker)})
            else:
                items.append({"signal_id": str(signal), "assign": self._assignment(marker)})
            actions.append((Action.MOVE if signal in self._mine else Action.ASSIGN, marker, signal))
        if not items:
            return
        answer = await self._with_key("POST", "/api/assignments/bulk", {"items": items}, self._marker(), {})
        for place, (action, marker, signal) in enumerate(actions):
            outcome = _outcome(answer)
            if answer is not None and outcome is Outcome.DONE:
                status = answer.json()["results"][place]["status"]
                outcome = Outcome.DONE if status == 200 else Outcome.REFUSED
                if status == 200:
                    self._mine.append(signal)
            self._journal.writes.append(Write(action, marker, outcome))

    def _some_signal(self) -> UUID | None:
        """A current signal, most often one that others work on as well."""
        known = self._load.signal_ids()
        if not known:
            return None
        return id_of(self._random.choice(known[:10] if self._random.random() < 0.5 else known))

    def _marker(self) -> str:
        self._number += 1
        return f"seed {self._seed} {self._name} {self._number}"

    async def _write(
        self, method: str, path: str, body: dict[str, Any], key: str, headers: dict[str, str] | None = None
    ) -> Outcome:
        return _outcome(await self._with_key(method, path, body, key, headers or {}))

    async def _with_key(
        self, method: str, path: str, body: dict[str, Any], key: str, headers: dict[str, str]
    ) -> httpx.Response | None:
        """The answer to a write that is done once however often it is asked for; None where nobody can know."""
        answer, unsure = await self.repeat(method, path, body, headers | {"idempotency-key": key.replace(" ", "-")})
        # With an attempt before it whose fate is unknown, a refusal may be the effect of that one.
        return None if answer is None or (unsure and answer.status_code >= 400) else answer


def _outcome(answer: httpx.Response | None) -> Outcome:
    if answer is None:
        return Outcome.UNKNOWN
    return Outcome.DONE if answer.status_code < 300 else Outcome.REFUSED
