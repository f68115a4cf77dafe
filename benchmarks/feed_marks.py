"""Marking by filter at 2,000,000 events, and what is asked afterwards of one who has read that way.

One user has read nothing and marks all new signals, which lie scattered over the whole feed; another has read as much
with one number, a watermark. The limit of the marking is finding what it marks. What is asked afterwards is held
against the same for the other user.
"""

from statistics import median
from time import perf_counter

import asyncpg
import httpx

from benchmarks.feed_page import SIZES, fill
from benchmarks.instance import instance
from benchmarks.measure import Figures, Report
from benchmarks.servers import Servers
from tests.support.service import migrate, token, user_id

_ASKED = ("/api/feed/unread-count", "/api/feed", "/api/feed?unread=true", "/api/feed?unread=true&event_type=comment")
_REQUESTS = 60
_READS_SINGLY, _READS_UP_TO = "admin", "clinical_leadership"
_FILTERS = {"event_type": ["new_signal"]}


async def run(servers: Servers, rounds: int) -> list[Report]:
    """Measure on servers of their own."""
    owner_url, url = servers.postgres.owner_url("activity"), servers.postgres.service_url("activity")
    migrate("activity", owner_url)
    async with (
        instance("activity", url, servers.kafka.bootstrap_servers) as address,
        httpx.AsyncClient(base_url=address, timeout=60) as client,
    ):
        await fill(owner_url, SIZES[1])
        connection = await asyncpg.connect(owner_url, server_settings={"search_path": "activity"})
        head = await connection.fetchval("SELECT feed_position FROM audit_head")
        marking, finding = [], []
        for _ in range(rounds):
            await _forget(connection)
            finding.append(await _seconds_to_find(connection))
            marking.append(await _seconds_to_mark(client, head))
        marked = await connection.fetchval("SELECT count(*) FROM activity_events WHERE event_type = 'new_signal'")
        await connection.execute("INSERT INTO feed_read_watermarks VALUES ($1, $2)", user_id(_READS_UP_TO), marked)
        await connection.close()
        reports = [
            Report(
                f"mark {marked:,} of {head:,} by filter",
                Figures(f"mark {marked:,} by filter", "s", marking),
                Figures("  limit: find them", "s", finding),
                to_reach=2.0,
                less_is_better=True,
            )
        ]
        for path in _ASKED:
            singly, up_to = [], []
            for _ in range(_REQUESTS * rounds):
                up_to.append(await _milliseconds(client, path, _READS_UP_TO))
                singly.append(await _milliseconds(client, path, _READS_SINGLY))
            reports.append(
                Report(
                    f"{path} of who marked {marked:,} by filter",
                    Figures(f"{path} after it", "ms", [median(singly)]),
                    Figures("  of who has read up to a point", "ms", [median(up_to)]),
                    to_reach=1.5,
                    less_is_better=True,
                )
            )
    return reports


async def _forget(connection: asyncpg.Connection) -> None:
    await connection.execute("TRUNCATE feed_read_bits, feed_read_watermarks")
    await connection.execute("VACUUM ANALYZE feed_read_bits")


async def _seconds_to_find(connection: asyncpg.Connection) -> float:
    started = perf_counter()
    await connection.fetchval("SELECT sum(position) FROM activity_events WHERE event_type = 'new_signal'")
    return perf_counter() - started


async def _seconds_to_mark(client: httpx.AsyncClient, head: int) -> float:
    started = perf_counter()
    answer = await client.post(
        "/api/feed/mark-read", json={"up_to_position": head, "filters": _FILTERS}, headers=_as(_READS_SINGLY)
    )
    answer.raise_for_status()
    return perf_counter() - started


async def _milliseconds(client: httpx.AsyncClient, path: str, role: str) -> float:
    headers = _as(role)
    started = perf_counter()
    (await client.get(path, headers=headers)).raise_for_status()
    return (perf_counter() - started) * 1000


def _as(role: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token(role)}"}
