"""Reading while somebody tries passwords: 200 logins a second on one account, from twenty addresses.

Each round's attackers have addresses of their own, so that each begins with attempts that are checked. Attempts and
reads are paced by the clock and do not wait for each other's answers: what is answered late counts in full.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import cycle
from multiprocessing import get_context
from multiprocessing.queues import Queue
from statistics import quantiles
from time import perf_counter
from urllib.parse import urlsplit

import pytest

from benchmarks.load import Connection
from benchmarks.measure import Figures, Report
from deploy.local.stack import LocalStack
from tests.e2e.tokens import login
from tests.support.stack import UNLIMITED, free_settings, running, temporary_state_dir

_SECONDS = 20
_ATTEMPTS_PER_SECOND = 200
_ADDRESSES = 20
_ATTACKERS = 100
_READS_PER_SECOND = 50
_READERS = 16
_P99_MILLISECONDS = 50.0
_OWNER = "nursing@demo.example"
_READS = ("/api/signals?limit=1", "/api/assignments?limit=1", "/api/feed?limit=1", "/api/auth/me")


async def run(rounds: int) -> list[Report]:
    """Measure on a stack of its own, without the gateway's limits: they would make the attack a small one."""
    with pytest.MonkeyPatch.context() as environment, temporary_state_dir() as state_dir:
        for name, value in (UNLIMITED | {"COMPASS_ACCESS_TOKEN_SECONDS": "900"}).items():
            environment.setenv(name, value)
        with running(LocalStack(free_settings(state_dir))) as stack:
            headers = {"authorization": f"Bearer {login(stack, 'nursing')}"}
            quiet = await _read(stack, headers)
            attacked, answers = list[float](), Counter[int]()
            for number in range(1, rounds + 1):
                milliseconds, statuses = await _under_attack(stack, headers, number)
                attacked.append(_p99(milliseconds))
                answers += statuses
    return [
        Report(
            "login flood",
            Figures("reads under a flood of logins, p99", "ms", attacked),
            Figures("  to stay below", "ms", [_P99_MILLISECONDS]),
            to_reach=1.0,
            less_is_better=True,
            notes=[
                f"{_READS_PER_SECOND} reads a second of all services for {_SECONDS} s a round, none failed; "
                f"without a flood {_p99(quiet):.1f} ms",
                f"{answers.total() / _SECONDS / rounds:.0f} attempts/s, answered "
                + ", ".join(f"{status}: {count:,}" for status, count in sorted(answers.items())),
            ],
        )
    ]


def _p99(milliseconds: list[float]) -> float:
    return quantiles(milliseconds, n=100)[98]


async def _under_attack(stack: LocalStack, headers: dict[str, str], number: int) -> tuple[list[float], Counter[int]]:
    context = get_context("spawn")
    told: Queue[Counter[int] | None] = context.Queue()
    # A process of its own, so that making attempts is not taken for waiting for answers.
    attacker = context.Process(target=attack, args=(stack.gateway_url, number, told))
    attacker.start()
    await asyncio.to_thread(told.get, timeout=60)
    milliseconds = await _read(stack, headers)
    statuses = await asyncio.to_thread(told.get, timeout=120)
    await asyncio.to_thread(attacker.join)
    if statuses is None or attacker.exitcode != 0:
        raise RuntimeError("the attack failed")
    return milliseconds, statuses


async def _read(stack: LocalStack, headers: dict[str, str]) -> list[float]:
    """Milliseconds of every read, from when it was due. An answer other than 200 ends the benchmark."""
    milliseconds: list[float] = []
    paths = cycle(_READS)

    async def reader() -> Callable[[float], Awaitable[None]]:
        connection = await Connection.open(stack.gateway_url)

        async def read(due: float) -> None:
            await connection.get(next(paths), headers)
            milliseconds.append((perf_counter() - due) * 1000)

        return read

    await _paced([await reader() for _ in range(_READERS)], _READS_PER_SECOND)
    return milliseconds


def attack(url: str, number: int, told: "Queue[Counter[int] | None]") -> None:
    """Try passwords as long as a round lasts; tells when it begins, and at the end how often each status came."""
    asyncio.run(_attack(url, number, told))


async def _attack(url: str, number: int, told: "Queue[Counter[int] | None]") -> None:
    statuses, parts = Counter[int](), urlsplit(url)

    async def attacker(which: int) -> Callable[[float], Awaitable[None]]:
        address = f"127.0.{number}.{which % _ADDRESSES + 1}"
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, local_addr=(address, 0))

        async def attempt(due: float) -> None:
            body = f'{{"email":"{_OWNER}","password":"wrong-password-{due}"}}'
            head = f"POST /api/auth/login HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
            lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            lengths = [line.partition(b":")[2] for line in lines if line.startswith(b"content-length:")]
            await reader.readexactly(int(lengths[0]))
            statuses[int(lines[0].split()[1])] += 1

        return attempt

    attackers = [await attacker(which) for which in range(_ATTACKERS)]
    told.put(None)
    await _paced(attackers, _ATTEMPTS_PER_SECOND)
    told.put(statuses)


async def _paced(actors: list[Callable[[float], Awaitable[None]]], per_second: int) -> None:
    """Have something done so many times a second for a round, each time by an actor who is free."""
    due: asyncio.Queue[float | None] = asyncio.Queue()

    async def act(actor: Callable[[float], Awaitable[None]]) -> None:
        while (moment := await due.get()) is not None:
            await actor(moment)

    async with asyncio.TaskGroup() as group:
        for actor in actors:
            group.create_task(act(actor))
        started = perf_counter()
        for number in range(per_second * _SECONDS):
            moment = started + number / per_second
            await asyncio.sleep(max(0.0, moment - perf_counter()))
            due.put_nowait(moment)
        for _ in actors:
            due.put_nowait(None)
