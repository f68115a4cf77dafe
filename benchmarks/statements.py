"""Requests beside the SQL that they run, which a second instance of their service, in this process, tells."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import event

from benchmarks.measure import Figures, Report

Statement = tuple[str, Sequence[Any]]
"""SQL with its parameters."""


@dataclass(frozen=True, slots=True)
class Timed:
    """The middle answer and the middle of its SQL, in milliseconds."""

    answer: float
    sql: float


def held_against(name: str, sizes: tuple[int, int], small: Timed, large: Timed) -> list[Report]:
    """Two limits: the answer by its SQL, and the answer at the larger size by that at the smaller. Less is better."""
    ours = Figures(f"{name}, {sizes[1]:,}", "ms", [large.answer])
    allowed = Figures("  1.5 x SQL + 2 ms", "ms", [1.5 * large.sql + 2])
    before = Figures(f"  at {sizes[0]:,}", "ms", [small.answer])
    return [
        Report(f"{name} by its SQL", ours, allowed, to_reach=1.0, less_is_better=True),
        Report(f"{name} by its growth", ours, before, to_reach=1.2, less_is_better=True),
    ]


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
