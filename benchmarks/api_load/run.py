"""A month of signals while leaders work, and how many of them it takes until somebody waits.

The leaders come in steps. At one of the steps the month is published as well; at the others the engine sends what keeps
the feed alive. What is saturated is said by what follows the last step that held: errors, or a p99 above the limit.
"""

import asyncio
import os
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

import asyncpg

from benchmarks import publishing
from benchmarks.api_load import accounts, judging, place, tables
from benchmarks.api_load.crowd import Crowd
from benchmarks.api_load.judging import Brought
from benchmarks.api_load.notes import PATIENCE_SECONDS, percentile
from benchmarks.api_load.steps import P99_MILLISECONDS, Step, complaints, last_that_held
from benchmarks.many_signals import PUBLISHED, multiply, publish, tell_workflow
from benchmarks.measure import Figures, Report
from benchmarks.processes import Processes
from deploy.local.stack import LocalStack
from tests.e2e.tokens import login
from tests.support import oracles
from tests.support.eventually import eventually

_MOST_FAILURES: Final = 10
_SETTLE_SECONDS: Final = 5.0
_DRAIN_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Size:
    """How large all of it is."""

    signals: int = 1_000_000
    users: int = 200
    """Beside whom the month is published."""
    month: int = 50_000
    month_seconds: float = 120.0
    steps: tuple[int, ...] = (50, 100, 200, 400, 800)
    step_seconds: float = 30.0
    published_per_second: float = 20.0
    """At every other step."""

    @property
    def all_steps(self) -> list[int]:
        """Those of the month among them."""
        return sorted({*self.steps, self.users})


@dataclass(frozen=True, slots=True)
class LoadReport(Report):
    """With all that was seen, for the file; what must not be is among the notes, and ends the command with 1."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def complained(reports: list[Report]) -> bool:
    """Whether any of them is of a load in which something was that must not be."""
    return any(isinstance(report, LoadReport) and report.complaints for report in reports)


async def run(_: int) -> list[Report]:
    """In full size, for whoever runs all benchmarks."""
    return await measure(Size())


async def measure(size: Size) -> list[Report]:
    """On a stack of its own."""
    with place.stack_for_leaders() as stack:
        connection = await place.connect(stack)
        _say("making the signals")
        await fill(stack, connection, size.signals)
        _say("making the accounts")
        administrator = await asyncio.to_thread(login, stack, "admin")
        people = await accounts.make(stack, administrator, size.all_steps[-1])
        async with Crowd(stack.gateway_url, people, stack.settings.local_dir) as crowd:
            processes = Processes(stack, {"leaders": crowd.pid, "benchmark": os.getpid()})
            steps = [
                await _step(stack, connection, crowd, processes, size, number, users)
                for number, users in enumerate(size.all_steps, start=1)
            ]
            _say("looking at what came of it")
            brought = await judging.judge(*await judging.heard_all(crowd, connection), connection)
            steps[-1].around.append(await crowd.take())
        # Without leaders nothing moves, and what is at rest must agree with itself.
        found = brought.complaints + await judging.rest(stack, connection)
        worked_on = await _worked_on(connection)
        found += await oracles.complaints(stack, worked_on)
        await connection.close()
    return reports(size, steps, brought, found + judged(size, steps, brought, len(worked_on)))


async def fill(stack: LocalStack, connection: asyncpg.Connection, signals: int) -> None:
    """So many signals, those above some through Kafka as copies by SQL, which the workflow service knows as well."""
    through_kafka = min(signals, PUBLISHED)
    await publish(stack, connection, through_kafka)
    if signals > through_kafka:
        await multiply(connection, signals // through_kafka, through_kafka)
        # Of those that came through Kafka everybody knows the same, and at the end they are judged by it.
        await connection.execute(
            "UPDATE signals SET workflow_status = 'new', assignee_id = NULL "
            "WHERE workflow_status <> 'new' AND canonical_node_id !~ '/\\d+$'"
        )
        await tell_workflow(connection)


async def _step(
    stack: LocalStack,
    connection: asyncpg.Connection,
    crowd: Crowd,
    processes: Processes,
    size: Size,
    number: int,
    users: int,
) -> Step:
    is_month = users == size.users
    seconds = size.month_seconds if is_month else size.step_seconds
    signals = size.month if is_month else int(size.published_per_second * seconds)
    plan = publishing.Plan(signals, signals / seconds, signals, publishing.LAST_MONTH + number)
    _say(f"{users} leaders, {plan.per_second:.0f} signals a second, {seconds:.0f} s")
    await crowd.at_work(users)
    await asyncio.sleep(_SETTLE_SECONDS)
    coming = await crowd.take()
    before = await _recorded(connection)
    await place.statements(connection)
    processes.cpu_seconds()
    begun = perf_counter()
    with publishing.started(stack.kafka.bootstrap_servers, plan) as publisher:
        await asyncio.sleep(seconds)
        requests = await crowd.take()
        took = perf_counter() - begun
        cpu = {name: value / took for name, value in processes.cpu_seconds().items()}
        ran = await place.statements(connection)
        await publishing.until_published(publisher)
    late = perf_counter() - begun - seconds
    behind = signals - (await _recorded(connection) - before)

    async def left() -> int:
        return signals - (await _recorded(connection) - before)

    await eventually(left, lambda missing: missing <= 0, seconds=_DRAIN_SECONDS, every=0.5)
    drained = perf_counter() - begun - seconds
    # What was asked while it was measured is answered by now, or has failed.
    await asyncio.sleep(max(0.0, begun + took + PATIENCE_SECONDS - perf_counter()))
    notes = [
        f"{signals:,} signals published within {seconds + late:.0f} s; {max(0, behind):,} of them were not recorded "
        f"at the end of it, and none {max(0.0, drained - late):.0f} s later"
    ]
    step = Step(requests, signals, cpu, ran, notes, [coming, await crowd.take()])
    _say(
        f"  {requests.per_second:.0f} requests/s, p99 {step.p99:.0f} ms, {requests.failed} failed, "
        f"{sum(part.failed for part in step.around)} before and after"
    )
    for part in step.all_requests:
        for line in tables.refused(part)[:_MOST_FAILURES]:
            _say(f"    {line}")
    return step


async def _recorded(connection: asyncpg.Connection) -> int:
    """Detections that the audit log knows: the last to hear of a signal is the activity service."""
    return int(
        await connection.fetchval(
            "SELECT count(*) FROM activity.audit_log WHERE source = '/services/signals' AND sequence = 1"
        )
    )


async def _worked_on(connection: asyncpg.Connection) -> list[Any]:
    """All detections of what somebody worked on, for work is carried over; but for copies, of which are no events."""
    rows = await connection.fetch(
        "SELECT id FROM signals.signals WHERE canonical_node_id !~ '/\\d+$' "
        "AND entity_id IN (SELECT entity_id FROM workflow.assignments)"
    )
    return [row["id"] for row in rows]


def judged(size: Size, steps: list[Step], brought: Brought, worked_on: int) -> list[str]:
    """What must not be, of what was seen; `worked_on` is how many signals the oracles had to judge."""
    found = complaints(steps, size.users)
    if not worked_on:
        found.append("there was no load: nobody works on anything, so that there was nothing to judge")
    if not brought.seen:
        found.append("there was no load: the streams have brought nothing")
    return found


def reports(size: Size, steps: list[Step], brought: Brought, found: list[str]) -> list[Report]:
    """What is told and stored of it."""
    month = next(step for step in steps if step.users == size.users)
    held = last_that_held(steps)
    reached = 0.0 if held is None else held.requests.per_second
    noted = [
        *month.notes,
        f"{brought.streams} streams, {brought.connections} connections: {brought.seen:,} of {brought.expected:,} "
        "events that fit their filters",
        *(f"COMPLAINT: {complaint}" for complaint in found),
        f"from an event to its reader: p50 {percentile(month.requests.delivery_milliseconds, 50):.0f} ms, "
        f"p99 {percentile(month.requests.delivery_milliseconds, 99):.0f} ms",
        *tables.operations(month.requests),
        *tables.refused(month.requests),
        *tables.cpu(month.cpu),
        *tables.statements(month.statements, month.requests.seconds),
    ]
    return [
        LoadReport(
            "api_load",
            Figures(f"{size.users} leaders, {size.signals:,} signals, p99", "ms", [month.p99]),
            Figures("  to stay below", "ms", [P99_MILLISECONDS]),
            to_reach=1.0,
            notes=noted,
            less_is_better=True,
            steps=[tables.content(step) for step in steps],
            complaints=found,
        ),
        Report(
            "api_load saturation",
            Figures("requests of leaders before one in 100 waits", "requests/s", [reached]),
            Figures(f"  what {size.users} leaders ask", "requests/s", [month.requests.per_second]),
            to_reach=1.0,
            notes=tables.steps(steps),
        ),
    ]


def _say(line: str) -> None:
    print(f"  {line}", flush=True)
