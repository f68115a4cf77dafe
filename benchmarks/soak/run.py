"""Engine, leaders and streams at work for as long as is asked, looked at every few seconds, judged at the end."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Final, Protocol

import asyncpg
import msgspec
import pytest

from benchmarks import publishing
from benchmarks.api_load import accounts, judging, place
from benchmarks.api_load.crowd import Crowd
from benchmarks.api_load.notes import PATIENCE_SECONDS, Requests, skipped, troubles
from benchmarks.api_load.run import fill
from benchmarks.api_load.steps import LEAST_SHARE, REQUESTS_PER_LEADER
from benchmarks.processes import Processes
from benchmarks.soak import verdict
from benchmarks.soak.limits import SLOPES_FROM_MINUTES, limits
from benchmarks.soak.sampling import Sample, Sampler
from deploy.local.kafka import HEAP
from deploy.local.stack import LocalStack
from tests.e2e.tokens import login
from tests.support import oracles

_WHOLE_HEAP: Final = f"-Xms{HEAP} -XX:+AlwaysPreTouch"
"""For the broker: a heap that is taken as it is needed looks like a leak for hours."""

_SHORT_TOKEN_SECONDS: Final = "45"  # noqa: S105 - so that a short soak has sessions that go on and streams that resume


@dataclass(frozen=True, slots=True)
class Soak:
    """How long, and how much of what."""

    minutes: float = 60.0
    rate: float = 75.0
    """Requests of leaders a second."""
    publish: float = 20.0
    """Signals a second."""
    signals: int = 20_000
    """In the database when it begins."""
    every: float = 5.0
    """Seconds between samples."""

    @property
    def users(self) -> int:
        """Leaders who ask so much, ten at least: each of ten follows something else."""
        return max(10, round(self.rate / REQUESTS_PER_LEADER))

    @property
    def plan(self) -> publishing.Plan:
        """Five months of the same entities, each published twice: new detections and corrections of them."""
        signals = max(1, int(self.publish * self.minutes * 60))
        return publishing.Plan(signals, self.publish, max(1, signals // 10), publishing.LAST_MONTH + 1)


@dataclass(slots=True)
class Outcome:
    """What came of it, as far as it has come."""

    soak: Soak
    samples: list[Sample] = field(default_factory=list)
    lines: list[verdict.Line] = field(default_factory=list)
    streams: judging.Brought | None = None
    complaints: list[str] = field(default_factory=list)


async def run(outcome: Outcome) -> None:
    """On a stack of its own. What is seen is in the outcome at once, whatever breaks later; `judge` judges it."""
    soak, complaints = outcome.soak, outcome.complaints
    with ExitStack() as cleanup:
        environment = cleanup.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("JDK_JAVA_OPTIONS", _WHOLE_HEAP)
        if soak.minutes < SLOPES_FROM_MINUTES:
            environment.setenv("COMPASS_ACCESS_TOKEN_SECONDS", _SHORT_TOKEN_SECONDS)
        stack = cleanup.enter_context(place.stack_for_leaders())
        connection = await place.connect(stack)
        _say(f"making {soak.signals:,} signals and {soak.users} accounts")
        await fill(stack, connection, soak.signals)
        people = await accounts.make(stack, await asyncio.to_thread(login, stack, "admin"), soak.users)
        before = await _detections(connection)
        async with Crowd(stack.gateway_url, people, stack.settings.local_dir) as crowd:
            await begin(outcome, crowd)
            processes = Processes(stack, {"leaders": crowd.pid, "benchmark": os.getpid()})
            sampler = Sampler(stack, connection, processes)
            await _soak(outcome, stack, crowd, sampler)
            await sampler.close()
            _say("waiting until nothing is on its way, and everybody has heard of it")
            complaints += await judging.rest(stack, connection)
            await end(outcome, crowd, connection)
        # Without leaders nothing moves, and what is at rest must agree with itself.
        complaints += await judging.rest(stack, connection)
        made = await _detections(connection) - before
        if made != soak.plan.detections:
            complaints.append(f"lost or doubled: {made:,} detections stored of {soak.plan.detections:,}")
        ids = [row["id"] for row in await connection.fetch("SELECT id FROM signals.signals")]
        complaints += await oracles.complaints(stack, ids)
        await connection.close()


class Leaders(judging.Streams, Protocol):
    """Whoever can be set to work and tell of it: a crowd."""

    async def at_work(self, users: int) -> None:
        """Have so many at work."""

    async def take(self) -> Requests:
        """What was done since the last time."""


async def begin(outcome: Outcome, crowd: Leaders) -> None:
    """Have everybody at work. What failed until then is in no sample."""
    await crowd.at_work(outcome.soak.users)
    outcome.complaints += [f"at the beginning: {trouble}" for trouble in troubles([await crowd.take()])]


async def end(outcome: Outcome, crowd: Leaders, connection: asyncpg.Connection) -> None:
    """Wait until everybody has heard of everything. What fails meanwhile is in no sample, for leaders work on."""
    begun = perf_counter()
    outcome.streams = await judging.judge(*await judging.heard_all(crowd, connection), connection)
    # What was asked while there were samples is answered then, or has failed.
    await asyncio.sleep(max(0.0, begun + PATIENCE_SECONDS - perf_counter()))
    last = [await crowd.take()]
    outcome.complaints += [f"at the end: {trouble}" for trouble in (*troubles(last), *skipped(last))]


def judge(outcome: Outcome) -> None:
    """By everything that was seen.

    Raises:
        ValueError: a limit finds nothing to judge.
    """
    soak, samples, streams = outcome.soak, outcome.samples, outcome.streams
    outcome.lines = verdict.lines(samples, limits(soak.users))
    outcome.complaints += verdict.complaints(samples, outcome.lines, soak.rate)
    seen = 0
    if streams is not None:
        outcome.complaints += streams.complaints
        seen = streams.seen
    # A machine may be slow; but where nobody asks and nothing comes, all is flat as well.
    if _asked(samples) < soak.rate * LEAST_SHARE or not seen:
        outcome.complaints.append(f"there was no load: {_asked(samples):.1f} requests/s, {seen} events in the streams")


async def _soak(outcome: Outcome, stack: LocalStack, crowd: Crowd, sampler: Sampler) -> None:
    """The load itself."""
    soak, samples = outcome.soak, outcome.samples
    with publishing.started(stack.kafka.bootstrap_servers, soak.plan) as process:
        publisher = asyncio.create_task(publishing.until_published(process))
        begun = perf_counter()
        while not publisher.done() or not samples:
            await asyncio.sleep(max(0.0, begun + soak.every * (len(samples) + 1) - perf_counter()))
            samples.append(await sampler.sample(perf_counter() - begun, await crowd.take()))
            if len(samples) % 12 == 1:
                _tell(samples[-1])
        await publisher


def _tell(sample: Sample) -> None:
    services = ", ".join(f"{name} {mib:.0f}" for name, mib in sample.memory_mib.items())
    _say(
        f"{sample.seconds / 60:6.1f} min: {sample.requests_per_second:.0f} requests/s, p99 {sample.p99:.0f} ms, "
        f"lag {sum(sample.lag.values()):.0f}, MiB: {services}"
    )


async def _detections(connection: asyncpg.Connection) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM signals.signals"))


def _asked(samples: Sequence[Sample]) -> float:
    """Requests a second, over all the time."""
    return sum(sample.requests_per_second for sample in samples) / len(samples)


def report(outcome: Outcome) -> str:
    """For the screen."""
    samples = outcome.samples
    text = [
        verdict.table(outcome.lines),
        f"{outcome.soak.users} leaders asked {_asked(samples):.0f} times a second for "
        f"{samples[-1].seconds / 60:.1f} minutes, beside {outcome.soak.publish:g} signals a second",
        *_growing(samples),
    ]
    if (streams := outcome.streams) is not None:
        brought = f"{streams.seen:,} of {streams.expected:,} events"
        text.append(f"{streams.streams} streams, {streams.connections} connections, brought {brought}")
    return "\n".join([*text, *(f"COMPLAINT: {complaint}" for complaint in outcome.complaints)])


def _growing(samples: Sequence[Sample]) -> list[str]:
    """The tables that grow most: with the data, as they have to."""
    first, last = samples[0].table_mib, samples[-1].table_mib
    grown: Mapping[str, float] = {name: mib - first.get(name, 0.0) for name, mib in last.items()}
    most = sorted(grown, key=lambda name: -grown[name])[:8]
    return ["tables that grew most: " + ", ".join(f"{name} {grown[name]:+.1f} MiB" for name in most)]


def store(outcome: Outcome, file: Path) -> None:
    """Everything as JSON."""
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(msgspec.json.encode(outcome))


def _say(line: str) -> None:
    print(f"  {line}", flush=True)
