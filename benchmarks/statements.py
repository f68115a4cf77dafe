"""The SQL that a request runs, which a second instance of its service, in this process, tells."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import event

Statement = tuple[str, Sequence[Any]]
"""SQL with its parameters."""


@asynccontextmanager
async def listening(
    app: FastAPI, headers: Mapping[str, str], first: str
) -> AsyncIterator[Callable[[str], Awaitable[list[Statement]]]]:
    """Tells which queries a GET runs. ``first`` is any path, asked beforehand so that the instance is connected."""
    heard: list[Statement] = []

    def listen(record: Any) -> None:
        looks = record.query.lstrip().startswith(("SELECT ", "WITH ", "(SELECT")) and " FROM " in record.query
        # What asyncpg asks once per connection about a type is not the request's.
        if looks and "typeinfo_tree" not in record.query:
            heard.append((record.query, record.args))

    engine = app.state.session_maker.kw["bind"]
    event.listen(
        engine.sync_engine, "connect", lambda connection, _: connection.driver_connection.add_query_logger(listen)
    )
    await app.state.access.refresh()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service", headers=headers, timeout=600
    ) as client:

        async def statements_of(path: str) -> list[Statement]:
            heard.clear()
            answer = await client.get(path)
            answer.raise_for_status()
            return list(heard)

        await statements_of(first)
        yield statements_of
    await engine.dispose()
