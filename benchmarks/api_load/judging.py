"""Whether the streams have brought what the feed holds: all that fits, once, in order."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol
from urllib.parse import parse_qs
from uuid import UUID

import asyncpg

from benchmarks.api_load.notes import Followed
from deploy.local.stack import LocalStack
from tests.faults.quiescence import GROUPS, read_ends, unread
from tests.support.eventually import eventually

_REST_SECONDS: Final = 120.0
_HEARD_SECONDS: Final = 90.0
"""Some heartbeats: so long after an event everybody has heard of a position behind it."""

_MOST: Final = 5


@dataclass(frozen=True, slots=True)
class Brought:
    """All streams together."""

    streams: int
    expected: int
    seen: int
    connections: int
    complaints: list[str]


async def rest(stack: LocalStack, connection: asyncpg.Connection) -> list[str]:
    """What is still on its way through Kafka when it has had the time to arrive."""
    inboxes = " UNION ALL ".join(
        f"SELECT consumer_group, topic, partition, next_offset FROM {service}.inbox"  # noqa: S608 - our own names
        for service in GROUPS
    )

    async def on_its_way() -> list[str]:
        found = await read_ends(stack.kafka.bootstrap_servers)
        return list(unread(found, {(row[0], row[1], row[2]): row[3] for row in await connection.fetch(inboxes)}))

    try:
        await eventually(on_its_way, lambda left: not left, seconds=_REST_SECONDS, every=1.0)
    except AssertionError as error:
        return [str(error)]
    return []


class Streams(Protocol):
    """Whoever can tell what streams have seen: a crowd."""

    async def followed(self) -> list[Followed]:
        """Of each stream."""


async def heard_all(streams: Streams, connection: asyncpg.Connection) -> tuple[list[Followed], int]:
    """What the streams have seen once each of them has passed the present end of the feed, or has had the time to.

    And that end: what comes after it may be on its way, but whoever has not come so far has been left behind.
    """
    head = await connection.fetchval("SELECT coalesce(max(position), 0) FROM activity.activity_events")
    deadline = monotonic() + _HEARD_SECONDS
    while True:
        followed = await streams.followed()
        if all((one.reached or 0) >= head for one in followed) or monotonic() > deadline:
            return followed, head
        await asyncio.sleep(1.0)


async def judge(followed: Sequence[Followed], head: int, connection: asyncpg.Connection) -> Brought:
    """Every stream against the table, position by position: up to `head` at least."""
    begun = min((one.begun for one in followed if one.begun is not None), default=0)
    end = max([head, *(one.reached for one in followed if one.reached is not None)])
    rows = await connection.fetch(
        "SELECT position, event_type::text AS kind, user_id FROM activity.activity_events "
        "WHERE position > $1 AND position <= $2 ORDER BY position",
        begun,
        end,
    )
    complaints = [f"the feed has {len(rows)} events between {begun} and {end}"] if len(rows) != end - begun else []
    expected = 0
    fitting: dict[str, list[int]] = {}
    for one in followed:
        if one.query not in fitting:
            fitting[one.query] = _fitting(rows, one.query)
        if one.begun is None or one.reached is None:
            complaints.append(f"{one.query or 'everything'}: the stream never began")
            continue
        positions = fitting[one.query]
        due = positions[bisect_right(positions, one.begun) : bisect_right(positions, one.reached)]
        expected += len(due)
        if one.positions != due:
            complaints.append(_difference(one, due))
        # Also where nothing fits that is missing: heartbeats tell every stream how far the feed has come.
        if one.reached < head:
            complaints.append(f"{one.query or 'everything'}: reached {one.reached} of {head}")
    return Brought(
        streams=len(followed),
        expected=expected,
        seen=sum(len(one.positions) for one in followed),
        connections=sum(one.connections for one in followed),
        complaints=complaints,
    )


def _fitting(rows: Sequence[asyncpg.Record], query: str) -> list[int]:
    wanted = parse_qs(query.removeprefix("?"))
    kinds = set(wanted.get("event_type", []))
    users = {UUID(user) for user in wanted.get("user_id", [])}
    return [
        row["position"]
        for row in rows
        if (not kinds or row["kind"] in kinds) and (not users or row["user_id"] in users)
    ]


def _difference(one: Followed, due: Sequence[int]) -> str:
    missing = sorted(set(due) - set(one.positions))
    other = sorted(set(one.positions) - set(due))
    what = f"{len(missing)} missing {missing[:_MOST]}, {len(other)} that do not fit {other[:_MOST]}"
    doubled = len(one.positions) - len(set(one.positions))
    ordered = "" if one.positions == sorted(one.positions) else ", out of order"
    return f"{one.query or 'everything'} after {one.begun}: {what}, {doubled} doubled{ordered}"
