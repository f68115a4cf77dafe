"""The feed's pages at 200,000 and 2,000,000 events, held against the endpoint's own SQL through asyncpg.

200 users have read: most to near the end, some singly above that, one nothing. The pages are those of one who has read
up to a thousand events ago, and some of the rest. Both sizes stand side by side, in databases of their own with an
instance of the service each, and are asked in turn: what is compared with what has then met the same machine.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from time import perf_counter

import asyncpg
import httpx

from benchmarks.measure import Report
from benchmarks.servers import Servers
from benchmarks.statements import Statement, Timed, held_against, listening
from deploy.local.ports import free_port
from services.activity.main import create
from services.activity.models import BLOCK
from services.activity.settings import ActivitySettings
from shared.pagination import encode_cursor
from tests.support.service import SIGNING_KEY, migrate, service_settings, token, user_id

SIZES = (200_000, 2_000_000)
_REQUESTS = 60
_WARM_UP = 10
# As many events at both sizes: with a fixed number of signals, the page of one of them would grow with the feed.
_EVENTS_OF_A_SIGNAL = 20
_USER = user_id("viewer")


@dataclass
class _Side:
    """A feed of one size: its service, and a connection that runs the same statements."""

    client: httpx.AsyncClient
    connection: asyncpg.Connection
    queries: dict[str, str]
    statements: dict[str, list[Statement]]
    answers: dict[str, list[float]] = field(default_factory=dict)
    sql: dict[str, list[float]] = field(default_factory=dict)

    async def ask(self, name: str) -> None:
        """Run the statements of a page, then have the service answer with it; milliseconds of both are kept."""
        started = perf_counter()
        for statement, parameters in self.statements[name]:
            await self.connection.fetch(statement, *parameters)
        between = perf_counter()
        answer = await self.client.get(f"/api/feed?{self.queries[name]}")
        ended = perf_counter()
        answer.raise_for_status()
        self.sql.setdefault(name, []).append((between - started) * 1000)
        self.answers.setdefault(name, []).append((ended - between) * 1000)

    def timed(self, name: str) -> Timed:
        """The middle of both, without the first few."""
        return Timed(median(self.answers[name][_WARM_UP:]), median(self.sql[name][_WARM_UP:]))


async def run(servers: Servers, rounds: int) -> list[Report]:
    """Measure on servers of their own."""
    async with AsyncExitStack() as cleanup:
        sides = [await cleanup.enter_async_context(_side(servers, size)) for size in SIZES]
        names = list(sides[0].queries)
        for name in names:
            for _ in range(_REQUESTS * rounds + _WARM_UP):
                for side in sides:
                    await side.ask(name)
    small, large = sides
    return [
        report
        for name in names
        for report in held_against(f"feed, {name}", SIZES, small.timed(name), large.timed(name))
    ]


@asynccontextmanager
async def _side(servers: Servers, size: int) -> AsyncIterator[_Side]:
    database = f"feed_of_{size}"
    servers.postgres.create_database(database)
    owner_url = servers.postgres.owner_url("activity", database)
    url = servers.postgres.service_url("activity", database)
    migrate("activity", owner_url)
    async with service(servers, url) as client:
        await fill(owner_url, size)
        queries = await paths(owner_url)
        headers = {"authorization": client.headers["authorization"]}
        app = create(service_settings(ActivitySettings, url))
        async with listening(app, headers, first="/api/feed/unread-count") as statements_of:
            statements = {name: await statements_of(f"/api/feed?{query}") for name, query in queries.items()}
        connection = await asyncpg.connect(url, server_settings={"search_path": "activity", "timezone": "UTC"})
        try:
            yield _Side(client, connection, queries, statements)
        finally:
            await connection.close()


async def fill(url: str, size: int) -> None:
    """A feed of so many events, one a second, in the order of time; and what users have read of it."""
    connection = await asyncpg.connect(url, server_settings={"search_path": "activity"}, command_timeout=3600)
    # First, since the service looks for new keys once a second.
    await connection.execute(
        "INSERT INTO verification_keys (kid, public_jwk) VALUES ('test-key', $1) ON CONFLICT DO NOTHING",
        json.dumps(SIGNING_KEY.as_dict(private=False)),
    )
    await connection.execute(_EVENTS.format(size=size, signals=size // _EVENTS_OF_A_SIGNAL))
    await connection.execute(_HEAD)
    await connection.execute(_READS.format(user=_USER, block=BLOCK))
    for table in ("activity_events", "feed_groups", "feed_read_bits"):
        await connection.execute(f"VACUUM ANALYZE {table}")
    await connection.close()


async def paths(url: str) -> dict[str, str]:
    """The query of each page that is measured."""
    connection = await asyncpg.connect(url, server_settings={"search_path": "activity"})
    (half,) = await connection.fetch(
        "SELECT created_at, id, signal_id FROM activity_events "
        "WHERE position = (SELECT feed_position / 2 FROM audit_head)"
    )
    await connection.close()
    return {
        "first page": "",
        "one signal": f"signal_id={half['signal_id']}",
        "one type": "event_type=comment",
        "unread": "unread=true",
        "deep cursor": f"cursor={encode_cursor(half['created_at'], half['id'])}",
        "grouped": "grouped=true",
    }


@asynccontextmanager
async def service(servers: Servers, url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The service as its own process, and a client that may read."""
    port = free_port()
    own = {
        "COMPASS_ENVIRONMENT": "local",
        "COMPASS_DATABASE_URL": url,
        "COMPASS_KAFKA_BOOTSTRAP_SERVERS": servers.kafka.bootstrap_servers,
        "COMPASS_ACTIVITY_PORT": str(port),
        "COMPASS_LOG_LEVEL": "ERROR",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.activity.main", env={**os.environ, **own}, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            async with asyncio.timeout(60):
                while not await _answers(client):  # noqa: ASYNC110 - it tells nobody when it is up
                    await asyncio.sleep(0.2)
            client.headers["authorization"] = f"Bearer {_long_token()}"
            yield client
    finally:
        process.terminate()
        await process.wait()


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).is_success
    except httpx.TransportError:
        return False


def _long_token() -> str:
    return token("viewer", exp=int(datetime.now().timestamp()) + 6 * 3600)  # noqa: DTZ005 - seconds are the same


_EVENTS = """
    INSERT INTO activity_events (event_type, signal_id, user_id, payload, created_at, position, source, subject,
                                 sequence, type, summary, correlation_id, group_id, severity)
    SELECT kind, signal, actor, data, at, n, '/services/signals', signal, n, 'compass.event.v1',
           'Northfield General: waits over four hours got worse, severity 68 to 88.', 'batch ' || n / 50,
           CAST(md5('group ' || n / 5) AS uuid), CAST(n % 100 AS smallint)
    FROM (
        SELECT n, CAST(md5('signal ' || n % {signals}) AS uuid) AS signal,
               timestamptz '2026-01-01' + n * interval '1 second' AS at,
               CAST((ARRAY['new_signal', 'new_signal', 'new_signal', 'regression', 'regression', 'improvement',
                           'status_change', 'assignment', 'comment', 'insight'])[1 + n % 10] AS activity_event_type)
                   AS kind,
               CASE WHEN n % 10 IN (6, 7, 8)
                    THEN CAST(lpad(to_hex(n % 199), 32, '0') AS uuid) END AS actor,
               jsonb_build_object('signal', jsonb_build_object(
                   'facility', 'Northfield General', 'metric_id', 'edBreachRate', 'simplified_severity', n % 100,
                   'description', repeat('Waits over four hours are more frequent than at peers. ', 10))) AS data
        FROM generate_series(1, {size}) AS n
    ) AS made;
    INSERT INTO feed_groups
    SELECT group_id, min(event_type), NULL, min(created_at), count(*), min(created_at), max(created_at), max(position),
           (array_agg(id ORDER BY position))[1], (array_agg(id ORDER BY severity DESC))[1], max(severity)
    FROM activity_events GROUP BY group_id
"""
_HEAD = "UPDATE audit_head SET feed_position = (SELECT max(position) FROM activity_events)"
_READS = """
    INSERT INTO feed_read_watermarks
    SELECT CAST(lpad(to_hex(n), 32, '0') AS uuid), feed_position - 10 * n FROM audit_head, generate_series(1, 198) AS n
    UNION ALL SELECT '{user}', feed_position - 1000 FROM audit_head;
    INSERT INTO feed_read_bits (user_id, block, bits, flagged)
    SELECT mark.user_id, place / {block}, bit_or(set_bit(B'0'::bit({block}), (place % {block})::integer, 1)), TRUE
    FROM audit_head, feed_read_watermarks AS mark, generate_series(mark.position + 1, feed_position) AS place
    WHERE place % 3 = 0 GROUP BY 1, 2;
    UPDATE feed_read_sweep SET position = (SELECT max(position) FROM feed_read_watermarks);
    UPDATE activity_events SET read = TRUE
    WHERE position <= (SELECT max(position) FROM feed_read_watermarks) OR position % 3 = 0
"""
