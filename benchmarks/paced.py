"""Reading while a great deal comes in: a million signals at 5,000 a second, the list asked for 50 times a second.

Readers do not wait for each other's answers, as people do not: a slow answer delays nobody's question, and counts in
full. What comes in is paced by the clock, too; how far ingest was behind when the last signal went out is told.

The services that only listen (workflow, activity) are stopped meanwhile: on two cores they would be what is measured.
"""

import asyncio
from statistics import quantiles
from time import perf_counter

import asyncpg

from benchmarks import publishing
from benchmarks.load import Connection
from benchmarks.many_signals import stack_with_probe
from benchmarks.measure import Figures, Report
from deploy.local.stack import LocalStack
from tests.e2e.tokens import login

SIGNALS = 1_000_000
_SIGNALS_PER_SECOND = 5_000
_READS_PER_SECOND = 50
_READERS = 16
_P99_MILLISECONDS = 100.0
_TOKEN_SECONDS = 200.0


async def run(_: int) -> list[Report]:
    """One run of some four minutes, however many rounds are asked for."""
    with stack_with_probe() as stack:
        for listener in ("workflow", "activity"):
            stack.service(listener).stop()
        connection = await asyncpg.connect(stack.postgres.admin_url, command_timeout=600)
        published = asyncio.Event()
        reading = asyncio.create_task(_read(stack, published))
        started = perf_counter()
        plan = publishing.Plan(SIGNALS, _SIGNALS_PER_SECOND, SIGNALS)
        with publishing.started(stack.kafka.bootstrap_servers, plan) as publisher:
            await publishing.until_published(publisher)
        seconds = perf_counter() - started
        behind = SIGNALS - await _stored(connection)
        # An observer from outside has nothing else to wait on.
        while await _stored(connection) < SIGNALS:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        published.set()
        times = await reading
        await connection.close()
    p99 = quantiles(times, n=100)[98]
    return [
        Report(
            "paced",
            Figures("list while a million come in, p99", "ms", [p99]),
            Figures("  to stay below", "ms", [_P99_MILLISECONDS]),
            to_reach=1.0,
            less_is_better=True,
            notes=[
                f"{len(times):,} reads, none failed; p50 {quantiles(times)[1]:.1f} ms, longest {max(times):.0f} ms",
                f"{SIGNALS / seconds:,.0f} signals/s for {seconds:,.0f} s, {behind:,} not stored at the end of it",
            ],
        )
    ]


async def _stored(connection: asyncpg.Connection) -> int:
    statement = "SELECT coalesce(sum(next_offset), 0) FROM signals.inbox WHERE consumer_group = 'signals.ingest'"
    return int(await connection.fetchval(statement))


async def _read(stack: LocalStack, until: asyncio.Event) -> list[float]:
    """Milliseconds of every read, from when it was due. An answer other than 200 ends the benchmark."""
    times: list[float] = []
    due: asyncio.Queue[float] = asyncio.Queue()
    headers = {"authorization": f"Bearer {login(stack, 'nursing')}"}
    path = "/api/signals?sort_by=priority"

    async def reader() -> None:
        connection = await Connection.open(stack.gateway_url)
        while True:
            asked = await due.get()
            await connection.get(path, headers)
            times.append((perf_counter() - asked) * 1000)

    readers = [asyncio.create_task(reader()) for _ in range(_READERS)]
    logged_in = started = perf_counter()
    number = 0
    while not until.is_set():
        number += 1
        await asyncio.sleep(max(0.0, started + number / _READS_PER_SECOND - perf_counter()))
        due.put_nowait(started + number / _READS_PER_SECOND)
        if perf_counter() - logged_in > _TOKEN_SECONDS:
            headers = {"authorization": f"Bearer {await asyncio.to_thread(login, stack, 'nursing')}"}
            logged_in = perf_counter()
        for task in readers:
            if task.done():
                task.result()
    for task in readers:
        task.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    return times
