"""Pages at two sizes of the same data, asked for in turn, each held against its own SQL and against the smaller size.

Both sizes stand side by side, in databases of their own with an instance of the service each: what is compared with
what has then met the same machine. Minutes between two measurements showed as growth.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

import asyncpg
from fastapi import FastAPI

from benchmarks.load import Connection
from benchmarks.measure import Figures, Report
from benchmarks.statements import Statement, listening

_WARM_UP = 10
_SECONDS = 10.0
"""For each page, both sizes together: a slow one is asked for less often, but often enough for a median."""
_FEWEST = 20


@dataclass
class Side:
    """One size: a connection to its service, and one to its database that runs the same statements."""

    service: Connection
    headers: Mapping[str, str]
    database: asyncpg.Connection
    paths: Mapping[str, str]
    """What is asked for, by name."""
    statements: Mapping[str, Sequence[Statement]]
    answers: dict[str, list[float]] = field(default_factory=dict)
    sql: dict[str, list[float]] = field(default_factory=dict)

    async def ask(self, name: str) -> None:
        """Run the statements of a page, then have the service answer with it; milliseconds of both are kept."""
        started = perf_counter()
        for statement, parameters in self.statements[name]:
            await self.database.fetch(statement, *parameters)
        between = perf_counter()
        await self.service.get(self.paths[name], self.headers)
        ended = perf_counter()
        self.sql.setdefault(name, []).append((between - started) * 1000)
        self.answers.setdefault(name, []).append((ended - between) * 1000)


@asynccontextmanager
async def side(
    app: FastAPI,
    url: str,
    database: asyncpg.Connection,
    headers: Mapping[str, str],
    paths: Mapping[str, str],
    *,
    first: str,
) -> AsyncIterator[Side]:
    """Connect to the service at an address; ``app`` is an instance of it on the same database, to hear what it runs.

    ``first`` is any path of the service.
    """
    async with listening(app, headers, first) as statements_of:
        statements = {name: await statements_of(path) for name, path in paths.items()}
    service = await Connection.open(url)
    try:
        yield Side(service, headers, database, paths, statements)
    finally:
        await service.close()


async def compare(prefix: str, sizes: tuple[int, int], small: Side, large: Side, requests: int) -> list[Report]:
    """Every page so often at both sizes, in turn."""
    reports = []
    for name in large.paths:
        until = perf_counter() + _SECONDS
        for number in range(requests + _WARM_UP):
            if number >= _FEWEST + _WARM_UP and perf_counter() > until:
                break
            for each in (small, large):
                await each.ask(name)
        reports += _held_against(f"{prefix}{name}", name, sizes, small, large)
    return reports


def _held_against(title: str, name: str, sizes: tuple[int, int], small: Side, large: Side) -> list[Report]:
    """Two limits: the answer by its SQL, and the answer at the larger size by that at the smaller. Less is better."""
    ours = Figures(f"{title}, {sizes[1]:,}", "ms", [median(large.answers[name][_WARM_UP:])])
    allowed = Figures("  1.5 x SQL + 2 ms", "ms", [1.5 * median(large.sql[name][_WARM_UP:]) + 2])
    before = Figures(f"  at {sizes[0]:,}", "ms", [median(small.answers[name][_WARM_UP:])])
    return [
        Report(f"{title} by its SQL", ours, allowed, to_reach=1.0, less_is_better=True),
        Report(f"{title} by its growth", ours, before, to_reach=1.2, less_is_better=True),
    ]
