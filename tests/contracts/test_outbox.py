"""The migrations of every service leave an outbox that wakes this service's relay, and nobody else's."""

import asyncio

import asyncpg
import pytest

from deploy.gateway.routes import SERVICES
from deploy.local.postgres import EmbeddedPostgres
from tests.support.service import migrate


@pytest.mark.parametrize("service", SERVICES)
async def test_what_is_published_wakes_the_own_relay_only(postgres: EmbeddedPostgres, service: str) -> None:
    url = postgres.owner_url(service)
    migrate(service, url)
    connection = await asyncpg.connect(url, server_settings={"search_path": service})
    heard = asyncio.Queue[str]()
    try:
        for channel in ("outbox", *(f"outbox_{name}" for name in SERVICES)):
            await connection.add_listener(channel, lambda _, __, channel, ___: heard.put_nowait(channel))
        await connection.execute("INSERT INTO outbox (topic, key, value) VALUES ('nowhere', 'key', 'value')")
        await connection.execute("DELETE FROM outbox WHERE topic = 'nowhere'")
        assert await asyncio.wait_for(heard.get(), 10) == f"outbox_{service}"
        assert heard.empty()
    finally:
        await connection.close()
