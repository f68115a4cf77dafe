"""A client that hangs up ends its query in PostgreSQL; a write is left alone, and so is the connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, cast

import pytest
import uvicorn
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.ports import free_port
from deploy.local.postgres import EmbeddedPostgres
from shared.app import create_app
from shared.db import DbReading, DbSession, SessionMaker, create_reading_pool, raw_connection
from shared.settings import ServiceSettings
from tests.shared.conftest import SCHEMA
from tests.support.eventually import eventually
from tests.support.service import service_settings

Query = Callable[..., Awaitable[list[Any]]]

POOL = 2

WITHIN_SECONDS = 1.0
"""What is promised: so long after its client has hung up, a query is no longer running."""

router = APIRouter()


@router.get("/slow")
async def slow(session: DbSession) -> dict[str, str]:
    await session.execute(text("SELECT pg_sleep(60) /* abandoned */"))
    return {}


@router.get("/slow-raw")
async def slow_raw(session: DbSession) -> dict[str, str]:
    connection = await raw_connection(session)
    await connection.fetch("SELECT pg_sleep(60) /* abandoned */")
    return {}


@router.get("/slow-reading")
async def slow_reading(session: DbReading) -> dict[str, str]:
    connection = await raw_connection(session)
    await connection.fetch("SELECT pg_sleep(60) /* abandoned */")
    return {}


@router.get("/waits")
async def waits(session: DbSession) -> dict[str, str]:
    """Waits for a lock instead of sleeping."""
    await session.execute(text("SELECT 1 FROM effects FOR UPDATE /* abandoned */"))
    return {}


@router.post("/write")
async def write(session: DbSession) -> dict[str, str]:
    await session.execute(text("INSERT INTO effects (partition, value) SELECT 1, 'w' FROM pg_sleep(1) /* write */"))
    return {}


@router.get("/quick")
async def quick(session: DbSession) -> dict[str, int]:
    return {"pid": (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()}


@router.get("/patient")
async def patient(session: DbSession) -> dict[str, str]:
    """Longer than the watch needs to begin."""
    await session.execute(text("SELECT pg_sleep(0.5)"))
    return {"status": "ok"}


@router.get("/body")
async def body(request: Request) -> Response:
    await asyncio.sleep(0.4)  # the watch has begun
    return Response(await request.body())


@router.get("/stream")
async def stream(request: Request) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        async with request.app.state.session_maker() as session, session.begin():
            yield "first\n"
            await session.execute(text("SELECT pg_sleep(60) /* abandoned */"))
            yield "last\n"

    await asyncio.sleep(0.4)
    return StreamingResponse(lines())


@pytest.fixture
async def port(postgres: EmbeddedPostgres, engine: AsyncEngine) -> AsyncIterator[int]:
    """A service as it is run, with two connections to the database, behind a real server."""
    settings: ServiceSettings = service_settings(ServiceSettings, postgres.admin_url, database_pool_size=POOL)
    app = create_app(settings, name=SCHEMA, description="", routers=[router])
    async with create_reading_pool(settings, SCHEMA) as app.state.reading_pool, serving(app) as port:
        yield port


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[int]:
    port = free_port()
    config = uvicorn.Config(app, port=port, http="httptools", log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await eventually(lambda: _value(server.started))
    yield port
    server.should_exit = True
    await task
    await cast(SessionMaker, app.state.session_maker).kw["bind"].dispose()


async def _value(value: bool) -> bool:
    return value


@asynccontextmanager
async def asking(
    port: int, path: str, method: str = "GET", content: bytes = b""
) -> AsyncIterator[asyncio.StreamReader]:
    """A request whose answer nobody has to read to the end: the connection is cut on leaving."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    length = f"content-length: {len(content)}\r\n" if content or method == "POST" else ""
    writer.write(f"{method} {path} HTTP/1.1\r\nhost: test\r\n{length}\r\n".encode() + content)
    await writer.drain()
    yield reader
    writer.close()
    await writer.wait_closed()


async def get(port: int, path: str, content: bytes = b"") -> bytes:
    async with asking(port, path, content=content) as reader:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        return await reader.readexactly(int(length.split(b":")[1]))


async def running(query: Query, mark: str = "abandoned") -> int:
    found = await query(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE :mark",
        mark=f"%/* {mark} */%",
    )
    count: int = found[0][0]
    return count


async def ended(query: Query, hung_up: float) -> None:
    """Return once no query runs any more; fails when that takes longer than promised since the hang-up."""
    left = hung_up + WITHIN_SECONDS - monotonic()
    await eventually(lambda: running(query), lambda count: count == 0, seconds=left, every=0.02)


@pytest.mark.parametrize("path", ["/slow", "/slow-raw", "/slow-reading", "/waits"])
async def test_a_hang_up_ends_the_query(port: int, query: Query, session_maker: SessionMaker, path: str) -> None:
    async with session_maker() as session, session.begin():
        await session.execute(text("LOCK TABLE effects"))
        for _ in range(3):
            async with asking(port, path), asking(port, path):
                await eventually(lambda: running(query), lambda count: count == POOL, seconds=5)
                hung_up = monotonic()
            await ended(query, hung_up)
        # Both connections are whole and free, although all of them were cut off three times.
        answers = await asyncio.gather(*(get(port, "/quick") for _ in range(10)))
        assert len(set(answers)) <= POOL


async def test_clients_that_never_waited(port: int, query: Query) -> None:
    """They hang up before anybody watches, and leave a connection to others."""
    for _ in range(POOL):
        async with asking(port, "/slow"):
            pass
    assert await get(port, "/quick")
    await eventually(lambda: running(query), lambda count: count == 0, seconds=5)


async def test_a_hang_up_in_the_middle_of_a_stream(port: int, query: Query) -> None:
    async with asking(port, "/stream") as reader:
        await reader.readuntil(b"first\n")
        await eventually(lambda: running(query), lambda count: count == 1)
        hung_up = monotonic()
    await ended(query, hung_up)


async def test_a_write_is_done_although_nobody_waits(port: int, query: Query) -> None:
    async with asking(port, "/write", "POST"):
        await eventually(lambda: running(query, "write"), lambda count: count == 1)
    await eventually(lambda: query("SELECT value FROM effects"), lambda rows: [row.value for row in rows] == ["w"])


async def test_who_waits_is_answered(port: int) -> None:
    assert await get(port, "/patient") == b'{"status":"ok"}'


async def test_a_body_reaches_the_application_all_the_same(port: int) -> None:
    sent = b"x" * 100_000
    assert await get(port, "/body", sent) == sent
