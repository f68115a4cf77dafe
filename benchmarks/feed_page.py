"""The feed's pages at 200,000 and 2,000,000 events, held against the endpoint's own SQL through asyncpg.

200 users have read: most to near the end, some singly above that, one nothing. The pages are those of one who has read
up to a thousand events ago, and some of the rest.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime

import asyncpg

from benchmarks.instance import instance
from benchmarks.measure import Report
from benchmarks.servers import Servers
from benchmarks.sides import Side, compare, side
from services.activity.main import create
from services.activity.models import BLOCK
from services.activity.settings import ActivitySettings
from shared.pagination import encode_cursor
from tests.support.service import SIGNING_KEY, migrate, service_settings, token, user_id

SIZES = (200_000, 2_000_000)
_REQUESTS = 60
"""Of each page and size, a round."""
# As many events at both sizes: with a fixed number of signals, the page of one of them would grow with the feed.
_EVENTS_OF_A_SIGNAL = 20
_USER = user_id("viewer")


async def run(servers: Servers, rounds: int) -> list[Report]:
    """Measure on servers of their own."""
    async with AsyncExitStack() as cleanup:
        small, large = [await cleanup.enter_async_context(_side(servers, size)) for size in SIZES]
        return await compare("feed, ", SIZES, small, large, _REQUESTS * rounds)


@asynccontextmanager
async def _side(servers: Servers, size: int) -> AsyncIterator[Side]:
    database = f"feed_of_{size}"
    servers.postgres.create_database(database)
    owner_url = servers.postgres.owner_url("activity", database)
    service_url = servers.postgres.service_url("activity", database)
    migrate("activity", owner_url)
    headers = {"authorization": f"Bearer {_long_token()}"}
    async with AsyncExitStack() as cleanup:
        url = await cleanup.enter_async_context(instance("activity", service_url, servers.kafka.bootstrap_servers))
        await fill(owner_url, size)
        connection = await asyncpg.connect(service_url, server_settings={"search_path": "activity", "timezone": "UTC"})
        cleanup.push_async_callback(connection.close)
        app = create(service_settings(ActivitySettings, service_url))
        asked = {name: f"/api/feed?{query}" for name, query in (await paths(owner_url)).items()}
        first = "/api/feed/unread-count"
        yield await cleanup.enter_async_context(side(app, url, connection, headers, asked, first=first))


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
