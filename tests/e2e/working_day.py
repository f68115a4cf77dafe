"""A day's load through a gateway whose instances may be killed: an engine, leaders, readers, and people who log in.

Everybody notes what was answered. A request whose answer did not come may have had its effect or not: whoever sent an
Idempotency-Key sends it again until it is answered; whoever did not leaves it open.
"""

import asyncio
import json
from base64 import urlsafe_b64decode
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import msgspec
from aiokafka import AIOKafkaProducer

from deploy.local.stack import LocalStack
from shared.events.topics import ENGINE_SIGNALS
from tests.e2e.api import PASSWORD, Gateway, api, id_of
from tests.support.factories import engine_signal

ANSWER_SECONDS: Final = 45.0
"""Within so long somebody who tries again gets an answer, whoever is killed meanwhile."""

LEADERS: Final = 4
"""Pairs of leaders who work at the same time."""

_AWAY: Final = frozenset({0, 502, 503, 504})
"""No answer of the service's: the connection was cut (0), or the gateway says so."""


@dataclass
class Notes:
    """What was acknowledged, and what is open."""

    signals: dict[UUID, list[dict[str, Any]]] = field(default_factory=dict)
    """Each detection's messages in the order in which Kafka acknowledged them."""
    steps: dict[UUID, list[str]] = field(default_factory=dict)
    """The acknowledged steps of each signal's work, in their order."""
    comments: dict[str, bool] = field(default_factory=dict)
    """Each comment's text, and whether it was acknowledged."""
    sessions: list[UUID] = field(default_factory=list)
    logins: int = 0
    """Attempts, answered or not."""
    answers: Counter[int] = field(default_factory=Counter)
    repeated: int = 0
    """Writes that were sent again."""
    surprises: list[str] = field(default_factory=list)
    """Answers that nobody may get, whoever is killed."""


class Person:
    """Somebody of the demo users, whose calls find an instance that is left."""

    def __init__(self, place: Gateway, role: str, notes: Notes) -> None:
        self._api = api(place, role)
        self._notes = notes
        self.role = role
        self.id = ""

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        """One attempt; None where no service answered."""
        try:
            answer = await self._api.client.request(method, path, **more)
        except httpx.TransportError:
            self._notes.answers[0] += 1
            return None
        self._notes.answers[answer.status_code] += 1
        if answer.status_code >= 500 and answer.status_code not in _AWAY:
            self._notes.surprises.append(f"{method} {path}: {answer.status_code} {answer.text}")
        return None if answer.status_code in _AWAY else answer

    async def insist(self, method: str, path: str, *, unless: tuple[int, ...] = (), **more: Any) -> httpx.Response:
        """The same request until a service answers with anything but these statuses; a session begins anew."""
        deadline = monotonic() + ANSWER_SECONDS
        for attempt in count():
            answer = await self.ask(method, path, **more)
            if answer is not None and answer.status_code == 401 and path != "/api/auth/refresh":
                await self.login()
            elif answer is not None and answer.status_code not in unless:
                self._notes.repeated += attempt > 0 and method != "GET"
                return answer
            if monotonic() > deadline:
                raise AssertionError(f"{method} {path} was not answered within {ANSWER_SECONDS:g} s: {answer}")
            await asyncio.sleep(0.1)
        raise AssertionError

    async def login(self) -> dict[str, Any]:
        """Begin a session."""
        self._notes.logins += 1
        body = {"email": f"{self.role}@demo.example", "password": PASSWORD}
        while (answer := await self.ask("POST", "/api/auth/login", json=body)) is None:
            self._notes.logins += 1
            await asyncio.sleep(0.1)
        assert answer.status_code == 200, answer.text
        granted: dict[str, Any] = answer.json()
        self._take(granted)
        claims = json.loads(urlsafe_b64decode(granted["access_token"].split(".")[1] + "=="))
        self.id = claims["sub"]
        self._notes.sessions.append(UUID(claims["sid"]))
        return granted

    async def refresh(self, granted: dict[str, Any]) -> dict[str, Any]:
        """Go on with a session; an answer that was lost is asked for again."""
        answer = await self.insist("POST", "/api/auth/refresh", json={"refresh_token": granted["refresh_token"]})
        if answer.status_code != 200:
            self._notes.surprises.append(f"{self.role} lost a session: {answer.status_code} {answer.text}")
            return await self.login()
        self._take(answer.json())
        return dict(answer.json())

    def _take(self, granted: dict[str, Any]) -> None:
        self._api.client.headers["authorization"] = f"Bearer {granted['access_token']}"


class WorkingDay:
    """All of them at work until `end`."""

    def __init__(self, stack: LocalStack, place: Gateway, *, pause_seconds: float = 0.04) -> None:
        self._stack = stack
        self._place = place
        self._pause = pause_seconds
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._to_do: asyncio.Queue[UUID] = asyncio.Queue()
        self.node = f"node:day-{uuid4().hex[:8]}"
        self.notes = Notes()

    async def begin(self) -> None:
        """Everybody starts."""
        leaders = [self._lead() for _ in range(LEADERS)]
        work = [self._publish(), *leaders, self._read(), self._come_and_go()]
        self._tasks = [asyncio.create_task(task) for task in work]

    async def end(self) -> None:
        """Everybody finishes what they have begun; who failed fails here."""
        self._over.set()
        await asyncio.gather(*self._tasks)

    def check(self) -> None:
        """Raise what has stopped somebody."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def publish_calmly(self, signals: int) -> None:
        """So many signals when nobody is being killed; each time another number."""
        await self._publish(signals)

    async def _publish(self, most: int | None = None) -> None:
        """New entities, corrections of them, newer detections; leaders get every fourth, which stays as it is."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._stack.kafka.bootstrap_servers, acks="all", enable_idempotence=True
        )
        async with producer:
            for number in count():
                if number == most or (most is None and self._over.is_set()):
                    return
                facility = f"{self.node[-8:]}-{most or 0}-{number}"
                first = engine_signal(
                    canonical_node_id=self.node, facility=f"Hospital {facility}", facility_id=facility
                )
                messages = [first]
                if number % 2:
                    messages.append(first | {"metric_value": 0.25, "description": f"Counted anew: {number}."})
                if number % 4 == 1:
                    messages.append(first | {"detected_at": "2026-08-01T00:00:00Z", "metric_value": 0.35})
                if number % 8 == 5:
                    messages.append(messages[-1] | {"metric_value": 0.31})
                for message in messages:
                    await producer.send_and_wait(
                        ENGINE_SIGNALS.name, msgspec.json.encode(message), message["facility_id"].encode()
                    )
                    self.notes.signals.setdefault(id_of(message), []).append(message)
                    await asyncio.sleep(self._pause)
                if number % 4 == 0:
                    self._to_do.put_nowait(id_of(first))

    async def _lead(self) -> None:
        """Two leaders take one signal after the other to its end."""
        clinical, nursing = Person(self._place, "clinical", self.notes), Person(self._place, "nursing", self.notes)
        await clinical.login()
        await nursing.login()
        assign = {"assignee_id": nursing.id, "role_type": "nursing_leadership"}
        while not self._over.is_set():
            try:
                signal = await asyncio.wait_for(self._to_do.get(), 1)
            except TimeoutError:
                continue
            path = f"/api/signals/{signal}"
            await self._comment(clinical, path, once_only=True)
            await self._step(clinical, signal, "assigned", "POST", f"{path}/assign", assign)
            await self._step(nursing, signal, "in_progress", "PATCH", f"{path}/status", {"status": "in_progress"})
            await self._comment(nursing, path, once_only=False)
            resolved = {"status": "resolved", "resolution_notes": "Done."}
            await self._step(nursing, signal, "resolved", "PATCH", f"{path}/status", resolved)
            await self._step(clinical, signal, "closed", "PATCH", f"{path}/status", {"status": "closed"})

    async def _step(
        self, person: Person, signal: UUID, status: str, method: str, path: str, body: dict[str, Any]
    ) -> None:
        # Unknown at first: the workflow service hears of the signal by itself.
        headers = {"idempotency-key": str(uuid4())}
        answer = await person.insist(method, path, unless=(404,), json=body, headers=headers)
        if answer.is_success and answer.json()["status"] == status:
            self.notes.steps.setdefault(signal, []).append(status)
        else:
            self.notes.surprises.append(f"{method} {path} {status}: {answer.status_code} {answer.text}")

    async def _comment(self, person: Person, path: str, *, once_only: bool) -> None:
        text = str(uuid4())
        if once_only:
            headers = {"idempotency-key": text}
            answer = await person.insist(
                "POST", f"{path}/comments", unless=(404,), json={"text": text}, headers=headers
            )
        else:
            asked = await person.ask("POST", f"{path}/comments", json={"text": text})
            if asked is None:
                self.notes.comments[text] = False
                return
            answer = asked
        if answer.status_code == 201:
            self.notes.comments[text] = True
        else:
            self.notes.surprises.append(f"POST {path}/comments: {answer.status_code} {answer.text}")

    async def _read(self) -> None:
        """Walk through some pages of the feed, again and again: no page repeats what another showed."""
        person = Person(self._place, "administration", self.notes)
        await person.login()
        while not self._over.is_set():
            seen: list[str] = []
            cursor: dict[str, str] = {}
            for _ in range(3):
                page = (await person.insist("GET", "/api/feed", params={"limit": 50, **cursor})).json()
                seen += [event["id"] for event in page["events"]]
                if not page["has_more"]:
                    break
                cursor = {"cursor": page["cursor"]}
            if len(seen) != len(set(seen)):
                self.notes.surprises.append("a walk through the feed met an event twice")
            await asyncio.sleep(self._pause)

    async def _come_and_go(self) -> None:
        """Log in, go on with the session, log out."""
        person = Person(self._place, "viewer", self.notes)
        while not self._over.is_set():
            granted = await person.login()
            for _ in range(3):
                await asyncio.sleep(5 * self._pause)
                granted = await person.refresh(granted)
            await person.insist("POST", "/api/auth/logout")
