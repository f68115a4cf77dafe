"""A client that hangs up at the gateway ends its query in PostgreSQL: Envoy passes it on, the service acts on it."""

import asyncio
from time import monotonic

import asyncpg
import httpx
import pytest

from deploy.local.stack import LocalStack
from tests.e2e.api import Api, api, count, id_of, send
from tests.support.eventually import eventually
from tests.support.factories import engine_signal

WITHIN_SECONDS = 1.0

# Readers wait for the lock that the test holds on the table; so may others who write, which are not looked at.
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'compass-signals' AND wait_event_type = 'Lock' AND wait_event = 'relation'
      AND query ~* '^\\s*(select|with)\\M' AND query !~* '\\mfor (update|no key update)\\M'
"""


async def hang_up(person: Api, stack: LocalStack, path: str) -> None:
    """Ask over a connection of one's own, and cut it while the query runs."""
    before = await count(stack, WAITING)
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.settings.gateway_port)
    token = person.client.headers["authorization"]
    writer.write(f"GET {path} HTTP/1.1\r\nhost: test\r\nauthorization: {token}\r\n\r\n".encode())
    await writer.drain()
    await eventually(lambda: count(stack, WAITING), lambda waiting: waiting > before)
    hung_up = monotonic()
    writer.close()
    await writer.wait_closed()
    left = hung_up + WITHIN_SECONDS - monotonic()
    await eventually(lambda: count(stack, WAITING), lambda waiting: waiting <= before, seconds=left, every=0.02)
    assert not await reader.read()


@pytest.mark.parametrize(
    "path", ["/api/signals", "/api/signals?q=north", "/api/signals/{id}", "/api/signals/{id}/related"]
)
async def test_the_query_of_who_hung_up_ends_within_a_second(stack: LocalStack, path: str) -> None:
    signal, person = engine_signal(facility_id="hang-up"), api(stack, "clinical")
    signal_path = f"/api/signals/{id_of(signal)}"
    await send(stack, [signal])
    await person.login()
    await eventually(
        lambda: person.client.get(signal_path), lambda answer: answer.status_code == httpx.codes.OK, seconds=60
    )
    connection = await asyncpg.connect(stack.postgres.admin_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE signals.signals IN ACCESS EXCLUSIVE MODE")
            for _ in range(3):
                await hang_up(person, stack, path.format(id=id_of(signal)))
    finally:
        await connection.close()
    assert (await person.client.get(signal_path)).status_code == httpx.codes.OK
