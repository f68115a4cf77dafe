"""Whether all that was published has gone the whole way, and what the API then shows of it."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.errors import StackError
from deploy.local.stack import LocalStack
from shared.events import topics

DEMO_PASSWORD = "quality-compass"  # noqa: S105 - of users that exist only locally, documented
DEMO_USERS = tuple(f"{name}@demo.example" for name in ("admin", "clinical", "nursing", "administration", "viewer"))

DETECTION_EVENTS = ("new_signal", "regression", "improvement")


@dataclass(frozen=True)
class Counts:
    """What the gateway's API shows. The API counts exactly up to a limit; `capped` says that there is more."""

    detections: int
    current: int
    new_signals: int
    redetections: int
    capped: bool


class Api:
    """The gateway's API as the demo administrator sees it. Logs in when it has to: each login costs a slow hash."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)

    def count(self) -> Counts:
        """Ask for all counts; StackError when the API does not answer as it should."""
        try:
            current = self._total("/api/signals", {})
            detections = self._total("/api/signals", {"include_history": "true"})
            new_signals = self._total("/api/feed", {"event_type": "new_signal"})
            redetections = self._total("/api/feed", {"event_type": ["regression", "improvement"]})
        except httpx.HTTPStatusError as error:
            answer = error.response
            raise StackError(f"{answer.url} answers {answer.status_code}: {answer.text[:300]}") from error
        except httpx.HTTPError as error:
            raise StackError(f"the API does not answer as it should: {error}") from error
        return Counts(
            detections=detections[0],
            current=current[0],
            new_signals=new_signals[0],
            redetections=redetections[0],
            capped=any(capped for _, capped in (current, detections, new_signals, redetections)),
        )

    def _total(self, path: str, parameters: dict[str, Any]) -> tuple[int, bool]:
        answer = self._client.get(path, params={**parameters, "limit": 1})
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            self._log_in()
            answer = self._client.get(path, params={**parameters, "limit": 1})
        page = answer.raise_for_status().json()
        return page["total_count"], bool(page.get("total_is_capped"))

    def _log_in(self) -> None:
        answer = self._client.post("/api/auth/login", json={"email": DEMO_USERS[0], "password": DEMO_PASSWORD})
        self._client.headers["authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"


def on_its_way(stack: LocalStack) -> int:
    """Signals that the signals service has still to read, and events that have still to reach the activity service.

    Looked at in the order in which a signal travels, so that nothing slips by between two looks.
    """
    return asyncio.run(_on_its_way(stack))


async def _on_its_way(stack: LocalStack) -> int:
    servers = stack.kafka.bootstrap_servers
    waiting = await _unread(servers, topics.ENGINE_SIGNALS, "signals")
    waiting += await _in_outbox(stack, "signals")
    return waiting + await _unread(servers, topics.COMPASS_SIGNALS, "activity")


async def _in_outbox(stack: LocalStack, service: str) -> int:
    connection = await asyncpg.connect(stack.postgres.admin_url)
    try:
        rows: int = await connection.fetchval(f'SELECT count(*) FROM "{service}".outbox')  # noqa: S608 - our own name
    finally:
        await connection.close()
    return rows


async def _unread(bootstrap_servers: str, topic: topics.Topic, service: str) -> int:
    """Messages of the topic beyond what the service's consumer groups (`<service>.<purpose>`) have committed."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    reader = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await reader.start()
        places = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        ends = await reader.end_offsets(places)
        committed: list[dict[TopicPartition, Any]] = []
        for group, _ in await admin.list_consumer_groups():
            if group.startswith(f"{service}."):
                offsets = await admin.list_consumer_group_offsets(group)
                if any(place.topic == topic.name for place in offsets):
                    committed.append(offsets)
    finally:
        await reader.stop()
        await admin.close()
    # Until a group has committed for the first time, all is before it.
    return sum(
        ends[place] - max(offsets[place].offset if place in offsets else 0, 0)
        for offsets in committed or [{}]
        for place in places
    )
