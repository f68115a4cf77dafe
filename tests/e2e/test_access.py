"""Who has lost access is refused by every service within moments, through Kafka, and stays refused."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.stack import LocalStack
from shared.events.topics import COMPASS_AUTH
from tests.e2e.api import Api, api
from tests.support.eventually import eventually

CHOSEN = "tidal-lantern-harbour"

READS = {
    "signals": "/api/signals?limit=1",
    "workflow": "/api/assignments?limit=1",
    "activity": "/api/feed?limit=1",
    "auth": "/api/auth/me",
}
"""One read of each service that everybody may do."""

REFUSED = (401, "revoked_token")


class Person:
    """Somebody whom an administrator has let in a moment ago, with one session."""

    def __init__(self, client: httpx.AsyncClient, user: dict[str, Any]) -> None:
        self.client = client
        self.path = f"/api/users/{user['id']}"
        self.email = user["email"]
        self._refresh_token = ""

    async def login(self, password: str, **more: str) -> None:
        """Begin a session."""
        body = {"email": self.email, "password": password, **more}
        self._keep(await self.client.post("/api/auth/login", json=body))

    async def refresh(self) -> int:
        """Go on with the session, if it can be; answers the status."""
        answer = await self.client.post("/api/auth/refresh", json={"refresh_token": self._refresh_token})
        if answer.status_code == 200:
            self._keep(answer)
        return answer.status_code

    async def statuses(self) -> dict[str, tuple[int, str]]:
        """What each service answers to the present access token: the status, and the code of a refusal."""
        seen = {}
        for service, path in READS.items():
            answer = await self.client.get(path)
            seen[service] = (answer.status_code, answer.json().get("code", ""))
        return seen

    async def is_let_in(self) -> None:
        """Every service has heard of the keys and takes the token."""
        await eventually(self.statuses, lambda seen: set(seen.values()) == {(200, "")}, seconds=10)

    async def is_refused(self) -> float:
        """Every service refuses the token; answers after how many seconds the last of them did."""
        began = monotonic()
        await eventually(self.statuses, lambda seen: set(seen.values()) == {REFUSED}, seconds=10)
        seconds = monotonic() - began
        logging.getLogger(__name__).info("refused by all services after %.2f s", seconds)
        return seconds

    async def stays_refused(self) -> None:
        """No service takes the token, not for a moment; one that has just begun may not answer at first."""

        async def look() -> set[tuple[int, str]]:
            seen = set((await self.statuses()).values())
            assert seen <= {REFUSED, (503, "unavailable")}, seen
            return seen

        await eventually(look, lambda seen: seen == {REFUSED}, seconds=30)

    def _keep(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200, answer.text
        tokens = answer.json()
        self._refresh_token = tokens["refresh_token"]
        self.client.headers["authorization"] = f"Bearer {tokens['access_token']}"


@asynccontextmanager
async def somebody(stack: LocalStack, admin: Api, role: str) -> AsyncIterator[Person]:
    """A new account of that role, logged in."""
    email = f"person-{uuid4().hex[:10]}@hospital.example"
    user = await admin.call("POST", "/api/users", 201, json={"email": email, "name": "Ward Manager", "role": role})
    async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=30) as client:
        person = Person(client, user)
        await person.login(user["initial_password"], new_password=CHOSEN)
        await person.is_let_in()
        yield person


@pytest.fixture
async def admin(stack: LocalStack) -> AsyncIterator[Api]:
    """An administrator at work."""
    someone = api(stack, "admin")
    await someone.login()
    yield someone
    await someone.client.aclose()


async def execute(stack: LocalStack, sql: str) -> None:
    connection = await asyncpg.connect(stack.postgres.admin_url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def restart(stack: LocalStack, service: str) -> None:
    await asyncio.to_thread(stack.service(service).stop)
    await asyncio.to_thread(stack.service(service).start)
    await asyncio.to_thread(stack.service(service).wait_until_ready, 60)


async def test_a_deactivated_user_is_refused_everywhere_also_after_restarts(
    stack: LocalStack, admin: Api, record_property: Any
) -> None:
    async with somebody(stack, admin, "nursing_leadership") as person:
        await admin.call("DELETE", person.path, 204)
        record_property("seconds", round(await person.is_refused(), 2))
        assert await person.refresh() == 401
        for service in READS:
            await restart(stack, service)
            await person.stays_refused()
        await admin.call("PATCH", person.path, json={"is_active": True})
        await person.login(CHOSEN)
        await person.is_let_in()


async def test_a_changed_role_holds_everywhere(stack: LocalStack, admin: Api) -> None:
    async with somebody(stack, admin, "admin") as person:
        assert (await person.client.get("/api/audit")).status_code == 200
        await admin.call("PATCH", person.path, json={"role": "viewer"})
        await person.is_refused()
        assert await person.refresh() == 200
        await person.is_let_in()
        assert (await person.client.get("/api/audit")).status_code == 403
        assert (await person.client.get("/api/users")).status_code == 403


async def test_a_session_that_was_ended_is_refused_and_the_other_is_not(stack: LocalStack, admin: Api) -> None:
    async with somebody(stack, admin, "viewer") as person, httpx.AsyncClient(base_url=stack.gateway_url) as elsewhere:
        lost = Person(elsewhere, {"id": "", "email": person.email})
        await lost.login(CHOSEN)
        await lost.is_let_in()
        body = {"current_password": CHOSEN, "new_password": "another-lantern-harbour"}
        assert (await person.client.post("/api/auth/password", json=body)).status_code == 204
        await lost.is_refused()
        assert await lost.refresh() == 401
        await person.is_let_in()
        before = await elsewhere.post("/api/auth/login", json={"email": person.email, "password": CHOSEN})
        assert before.status_code == 401
        await lost.login("another-lantern-harbour")
        await lost.is_let_in()


async def test_sessions_are_seen_and_ended_one_by_one(stack: LocalStack, admin: Api) -> None:
    async with AsyncExitStack() as open_clients, somebody(stack, admin, "viewer") as person:
        others = []
        for _ in range(2):
            client = await open_clients.enter_async_context(httpx.AsyncClient(base_url=stack.gateway_url))
            other = Person(client, {"id": "", "email": person.email})
            await other.login(CHOSEN)
            await other.is_let_in()
            others.append(other)

        async def listed(by: Person) -> dict[str, bool]:
            answer = await by.client.get("/api/auth/sessions")
            return {item["id"]: item["is_current"] for item in answer.json()["sessions"]}

        assert sorted((await listed(person)).values()) == [False, False, True]
        for left, lost in ((1, others[0]), (0, others[1])):
            [theirs] = [session for session, is_current in (await listed(lost)).items() if is_current]
            # Nobody else can end it.
            assert (await admin.client.delete(f"/api/auth/sessions/{theirs}")).status_code == 404
            assert (await person.client.delete(f"/api/auth/sessions/{theirs}")).status_code == 204
            await lost.is_refused()
            assert await lost.refresh() == 401
            assert sorted((await listed(person)).values()) == [False] * left + [True]
            for other in others[len(others) - left :]:
                await other.is_let_in()
        await person.is_let_in()


async def test_a_service_that_came_later_has_heard_it_too(stack: LocalStack, admin: Api) -> None:
    """The topic is kept for ever, and who has never read it begins at its beginning."""
    async with somebody(stack, admin, "viewer") as person:
        await admin.call("DELETE", person.path, 204)
        await person.is_refused()
        await asyncio.to_thread(stack.service("signals").stop)
        await _forget(stack, "signals")
        await _unread(stack, "signals.access")
        await execute(stack, "DELETE FROM signals.inbox WHERE consumer_group = 'signals.access'")
        await asyncio.to_thread(stack.service("signals").start)
        await asyncio.to_thread(stack.service("signals").wait_until_ready, 60)
        await person.is_refused()


async def test_a_snapshot_tells_it_to_who_has_missed_it(stack: LocalStack, admin: Api) -> None:
    """A service whose tables were lost, and which does not read again what it has read."""
    async with somebody(stack, admin, "viewer") as person:
        await admin.call("DELETE", person.path, 204)
        await person.is_refused()
        await asyncio.to_thread(stack.service("activity").stop)
        await _forget(stack, "activity")
        await asyncio.to_thread(stack.service("activity").start)
        command = [sys.executable, "-m", "services.auth.snapshot"]
        environment = stack.service_environment("auth")
        ran = await asyncio.to_thread(
            subprocess.run, command, env=environment, check=True, capture_output=True, text=True
        )
        assert ran.stdout.endswith("snapshots published\n")
        await asyncio.to_thread(stack.service("activity").wait_until_ready, 60)
        await person.is_refused()
        assert (await admin.client.get("/api/feed?limit=1")).status_code == 200


async def _forget(stack: LocalStack, schema: str) -> None:
    for table in ("verification_keys", "access_users", "access_revocations"):
        await execute(stack, f"DELETE FROM {schema}.{table}")  # noqa: S608 - the names stand here


async def _unread(stack: LocalStack, group: str) -> None:
    """Let a group that nobody is a member of stand at the beginning, as one that has never been there."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stack.kafka.bootstrap_servers, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(COMPASS_AUTH.name, number) for number in range(COMPASS_AUTH.partitions)]
        consumer.assign(partitions)
        await consumer.commit(dict.fromkeys(partitions, 0))
    finally:
        await consumer.stop()
