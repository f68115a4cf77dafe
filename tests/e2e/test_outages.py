"""PostgreSQL and Kafka away under load: honest answers meanwhile, everything there afterwards, nobody restarts it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.local.stack import LocalStack
from tests.e2e.api import Api, api, count, id_of, send
from tests.support.eventually import eventually
from tests.support.factories import engine_signal

AWAY_SECONDS = 20


def signals(node: str, numbers: range) -> list[dict[str, Any]]:
    return [
        engine_signal(canonical_node_id=node, facility=f"Facility {number}", facility_id=f"O{number}")
        for number in numbers
    ]


@asynccontextmanager
async def reading(person: Api) -> AsyncIterator[Counter[int]]:
    """Read the list all the time; yields how often each status was answered. A 503 must say when to come back."""
    statuses: Counter[int] = Counter()
    done = asyncio.Event()

    async def read() -> None:
        while not done.is_set():
            try:
                answer = await person.client.get("/api/signals", params={"limit": 5})
            except httpx.TransportError:
                statuses[0] += 1
                continue
            statuses[answer.status_code] += 1
            if answer.status_code == 503:
                assert int(answer.headers["retry-after"]) > 0
                assert answer.headers["content-type"] == "application/problem+json"
            # The gateway lets one person ask so often, and no oftener.
            await asyncio.sleep(0.1)

    task = asyncio.create_task(read())
    try:
        yield statuses
    finally:
        done.set()
        await task


async def settled(stack: LocalStack, node: str, expected: int) -> None:
    """All is stored, told, audited and shown, once."""
    stored = "SELECT count(*) FROM signals.signals WHERE canonical_node_id = $1"
    shown = (
        "SELECT count(*) FROM activity.activity_events WHERE event_type = 'new_signal' AND signal_id IN "
        "(SELECT id FROM signals.signals WHERE canonical_node_id = $1)"
    )
    known = (
        "SELECT count(*) FROM workflow.known_signals WHERE signal_id IN "
        "(SELECT id FROM signals.signals WHERE canonical_node_id = $1)"
    )
    for sql in (stored, shown, known):
        await eventually(lambda sql=sql: count(stack, sql, node), lambda seen: seen >= expected, seconds=90)  # type: ignore[misc]
        assert await count(stack, sql, node) == expected


@pytest.mark.timeout(300)
async def test_postgresql_away_for_20_seconds(stack: LocalStack) -> None:
    node, admin = f"node:pg-{uuid4().hex[:8]}", api(stack, "admin")
    await admin.login()
    await send(stack, signals(node, range(2000)))
    async with reading(admin) as statuses:
        await asyncio.to_thread(stack.postgres.stop)
        try:
            await send(stack, signals(node, range(2000, 4000)))
            await asyncio.sleep(AWAY_SECONDS)
            assert statuses[503] > 0
        finally:
            await asyncio.to_thread(stack.postgres.start)
        await settled(stack, node, 4000)
        statuses.clear()
        await eventually(_value(statuses, 200), lambda seen: seen > 3)
    assert set(statuses) <= {200, 503}
    assert statuses[500] == 0


@pytest.mark.timeout(300)
async def test_kafka_away_for_20_seconds(stack: LocalStack) -> None:
    node, admin = f"node:kafka-{uuid4().hex[:8]}", api(stack, "admin")
    await admin.login()
    await send(stack, signals(node, range(2000)))
    first = id_of(signals(node, range(1))[0])
    me = await admin.me()
    await settled(stack, node, 2000)
    async with reading(admin) as statuses:
        await asyncio.to_thread(stack.kafka.stop)
        try:
            await asyncio.sleep(AWAY_SECONDS)
            # What needs no broker goes on: reading, and changing the workflow, whose events wait in the outbox.
            body = {"assignee_id": me["id"], "role_type": "administration"}
            answer = await admin.client.post(f"/api/signals/{first}/assign", json=body)
            assert answer.status_code < 300, answer.text
        finally:
            await asyncio.to_thread(stack.kafka.start)
        await send(stack, signals(node, range(2000, 4000)))
        await settled(stack, node, 4000)
    assert set(statuses) == {200}
    feed = await eventually(
        lambda: admin.get("/api/feed", signal_id=str(first)), lambda page: len(page["events"]) == 2, seconds=60
    )
    assert [event["event_type"] for event in feed["events"]] == ["assignment", "new_signal"]


def _value(statuses: Counter[int], status: int) -> Any:
    async def look() -> int:
        return statuses[status]

    return look
