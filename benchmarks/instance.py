"""One more instance of a service, as its own process, for a benchmark that has its own database."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from deploy.local.ports import HOST, free_port

_SECONDS = 60


@asynccontextmanager
async def instance(service: str, database_url: str, bootstrap_servers: str) -> AsyncIterator[str]:
    """Start it; yields its address once it answers. It consumes as every instance of its service does."""
    port = free_port()
    own = {
        "COMPASS_ENVIRONMENT": "local",
        "COMPASS_DATABASE_URL": database_url,
        "COMPASS_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        f"COMPASS_{service.upper()}_PORT": str(port),
        "COMPASS_LOG_LEVEL": "ERROR",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"services.{service}.main", env={**os.environ, **own}, stdout=asyncio.subprocess.DEVNULL
    )
    url = f"http://{HOST}:{port}"
    try:
        async with asyncio.timeout(_SECONDS), httpx.AsyncClient(base_url=url) as client:
            while not await _answers(client):  # noqa: ASYNC110 - it tells nobody when it is up
                await asyncio.sleep(0.2)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).is_success
    except httpx.TransportError:
        return False
