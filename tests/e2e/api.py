"""The gateway's API as a leader's frontend calls it, and the engine as its team publishes."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import httpx
import msgspec
from aiokafka import AIOKafkaProducer

from deploy.local.stack import LocalStack
from shared.events.engine import dimensions_hash, entity_id, signal_id
from shared.events.topics import ENGINE_SIGNALS, Topic

PASSWORD = "quality-compass"  # the demo users', on the local stack only


class Gateway(Protocol):
    """What has a gateway."""

    @property
    def gateway_url(self) -> str:
        """Where the API is."""


class Api:
    """A logged-in person's calls through the gateway. Answers other than the expected status fail the test."""

    def __init__(self, client: httpx.AsyncClient, email: str) -> None:
        self.client = client
        self.email = email

    async def login(self) -> None:
        """Begin a session; the access token lives five minutes."""
        answer = await self.client.post("/api/auth/login", json={"email": self.email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        self.client.headers["authorization"] = f"Bearer {answer.json()['access_token']}"

    async def call(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        """The JSON of an answer with the expected status; a session that ran out is begun anew."""
        answer = await self.client.request(method, path, **more)
        if answer.status_code == 401 and status != 401:
            await self.login()
            answer = await self.client.request(method, path, **more)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def get(self, path: str, **params: Any) -> Any:
        """GET with query parameters."""
        return await self.call("GET", path, params=params)

    async def me(self) -> dict[str, Any]:
        """The caller."""
        answer: dict[str, Any] = await self.get("/api/auth/me")
        return answer


def api(place: Gateway, role: str) -> Api:
    """A person of the demo users, not logged in yet."""
    return Api(httpx.AsyncClient(base_url=place.gateway_url, timeout=30), f"{role}@demo.example")


async def send(stack: LocalStack, values: Iterable[dict[str, Any]], topic: Topic = ENGINE_SIGNALS) -> None:
    """Publish as the engine does: keyed by facility, acknowledged by all replicas."""
    producer = AIOKafkaProducer(
        bootstrap_servers=stack.kafka.bootstrap_servers, acks="all", linger_ms=5, enable_idempotence=True
    )
    async with producer:
        futures = []
        for value in values:
            key = (value.get("facility_id") or value["facility"]).encode()
            futures.append(await producer.send(topic.name, msgspec.json.encode(value), key))
        for future in futures:
            await future


def id_of(signal: dict[str, Any]) -> UUID:
    """The id that a signal of the engine gets."""
    dimensions = signal.get("entity_dimensions_hash") or dimensions_hash(signal.get("entity_dimensions"))
    entity = entity_id(signal["canonical_node_id"], signal["metric_id"], signal.get("facility_id"), dimensions)
    return signal_id(entity, datetime.fromisoformat(signal["detected_at"]))


async def query(stack: LocalStack, sql: str, *parameters: Any) -> list[asyncpg.Record]:
    """Look into the database as an operator would, across all schemas."""
    connection = await asyncpg.connect(stack.postgres.admin_url)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(sql, *parameters)
        return rows
    finally:
        await connection.close()


async def count(stack: LocalStack, sql: str, *parameters: Any) -> int:
    """The one number that a query answers."""
    return int((await query(stack, sql, *parameters))[0][0])
