"""Waiting until nothing moves any more: everybody ready, nothing unsent, unread or unflagged, twice in a row."""

import asyncio
from collections.abc import Iterator
from time import monotonic
from typing import Final

import asyncpg
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from shared.events import topics
from tests.faults.schedule import BUSY_SERVICES, SERVICES
from tests.faults.stack import FaultyStack
from tests.support.observation import ends

GROUPS: Final[dict[str, dict[str, str]]] = {
    "signals": {
        "signals.ingest": topics.ENGINE_SIGNALS.name,
        "signals.insights": topics.ENGINE_INSIGHTS.name,
        "signals.workflow": topics.COMPASS_WORKFLOW.name,
        "signals.users": topics.COMPASS_AUTH.name,
        "signals.access": topics.COMPASS_AUTH.name,
    },
    "workflow": {
        "workflow.signals": topics.COMPASS_SIGNALS.name,
        "workflow.users": topics.COMPASS_AUTH.name,
        "workflow.access": topics.COMPASS_AUTH.name,
    },
    "activity": {
        "activity.signals": topics.COMPASS_SIGNALS.name,
        "activity.workflow": topics.COMPASS_WORKFLOW.name,
        "activity.auth": topics.COMPASS_AUTH.name,
        "activity.operations": topics.COMPASS_OPERATIONS.name,
        "activity.users": topics.COMPASS_AUTH.name,
        "activity.access": topics.COMPASS_AUTH.name,
    },
}
"""Every consumer group by its service, with its topic."""

Ends = dict[tuple[str, int], int]
Inboxes = dict[tuple[str, str, int], int]
"""Group, topic and partition, with the offset up to which the effects are stored."""

_PRIMARY: Final = tuple(name for name in topics.BY_NAME if not name.endswith(".dead-letter"))
_LOOK_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 10.0
_QUERY: Final = " UNION ALL ".join(
    f"SELECT consumer_group, topic, partition, next_offset FROM {service}.inbox"  # noqa: S608 - our own names
    for service in BUSY_SERVICES
)
_UNSENT: Final = " UNION ALL ".join(
    f"SELECT '{service}' AS service, count(*) AS rows FROM {service}.outbox"  # noqa: S608 - our own names
    for service in SERVICES
)


_UNFLAGGED: Final = """
    SELECT EXISTS (SELECT FROM activity.feed_read_bits WHERE NOT flagged)
        OR (SELECT position FROM activity.feed_read_sweep)
           < (SELECT coalesce(max(position), 0) FROM activity.feed_read_watermarks)
"""


class RestlessError(Exception):
    """Something still moves, or stands still half-way, when all has long been well again."""


async def rest(stack: FaultyStack, seconds: float) -> Ends:
    """Where every partition ends once nothing moves any more.

    Raises:
        RestlessError: what is missing, after so many seconds.
    """
    deadline = monotonic() + seconds
    before: Ends | None = None
    while True:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                found, missing = await _look(stack)
        except (OSError, TimeoutError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            found, missing = None, [f"a server does not answer: {error!r}"]
        if not missing and found is not None and found == before:
            return found
        before = None if missing else found
        if monotonic() > deadline:
            raise RestlessError(f"not at rest after {seconds:g} s: {'; '.join(missing[:5]) or 'messages still come'}")
        await asyncio.sleep(_LOOK_SECONDS)


async def _look(stack: FaultyStack) -> tuple[Ends, list[str]]:
    """Where partitions end, and what keeps the stack from being at rest.

    Looked at against the direction in which a message travels: ends last would let one slip by.
    """
    servers = stack.kafka.bootstrap_servers
    connection = await asyncpg.connect(stack.postgres.admin_url)
    try:
        unsent = {row["service"]: row["rows"] for row in await connection.fetch(_UNSENT)}
        found = await read_ends(servers)
        rows = await connection.fetch(_QUERY)
        unflagged = await connection.fetchval(_UNFLAGGED)
    finally:
        await connection.close()
    stored = {(row["consumer_group"], row["topic"], row["partition"]): row["next_offset"] for row in rows}
    missing = [f"{service} has {rows} unsent rows" for service, rows in unsent.items() if rows]
    missing += unread(found, stored)
    missing += ["what was read is not flagged yet"] if unflagged else []
    if not missing:
        instances = [instance for service in SERVICES for instance in stack.instances(service)]
        ready = await asyncio.gather(*(asyncio.to_thread(getattr, one, "is_ready") for one in instances))
        missing = [f"{one.name} is not ready" for one, is_ready in zip(instances, ready, strict=True) if not is_ready]
    return found, missing


async def read_ends(bootstrap_servers: str) -> Ends:
    """Where each partition of the topics that somebody consumes ends."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
    try:
        await consumer.start()
        return {(place.topic, place.partition): end for place, end in (await ends(consumer, _PRIMARY)).items()}
    finally:
        await consumer.stop()


def unread(found: Ends, stored: Inboxes) -> Iterator[str]:
    """What each group has still to read."""
    for groups in GROUPS.values():
        for group, topic in groups.items():
            for (name, partition), end in found.items():
                done = stored.get((group, topic, partition), 0)
                if name == topic and done < end:
                    yield f"{group} is at {done} of {end} in {topic}/{partition}"
