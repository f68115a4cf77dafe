"""Two instances of every service, and one of the eight killed again and again: nothing lost, doubled or out of order.

The ordinary run kills each service once; `make two-instances` kills one every ten seconds for two minutes.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from time import monotonic
from typing import Any, Final
from uuid import UUID

import pytest
import structlog

from deploy.local.secrets import SERVICES
from deploy.local.service import ServiceProcess
from deploy.local.stack import READY_SECONDS, LocalStack
from tests.e2e.api import api, count, query
from tests.e2e.follower import Follower
from tests.e2e.working_day import Notes, WorkingDay
from tests.support import oracles
from tests.support.eventually import eventually
from tests.support.instances import GatewayOverAll, Instances

KILLS: Final = int(os.environ.get("COMPASS_TEST_KILLS", str(len(SERVICES))))
EVERY_SECONDS: Final = float(os.environ.get("COMPASS_TEST_KILL_EVERY_SECONDS", "3"))
STOCK: Final = 80
"""Signals that are there when the day begins: while consumers look for who is left, leaders have work."""
CALM_SIGNALS: Final = 20
CLOSED: Final = ["assigned", "in_progress", "resolved", "closed"]

logger = structlog.get_logger(__name__)


async def kill_and_start(victim: ServiceProcess) -> None:
    """SIGKILL, and another start at once, as whoever looks after processes does it."""
    await asyncio.to_thread(victim.kill)
    await asyncio.to_thread(victim.start)


async def kill_again_and_again(day: WorkingDay, first: LocalStack, second: Instances) -> None:
    """At a steady pace; the instances of a service take turns, so that who has taken over is the next."""
    for number in range(KILLS):
        begun = monotonic()
        name, turn = SERVICES[number % len(SERVICES)], number // len(SERVICES) % 2
        victim, other = ((first, second)[place].services[name] for place in (turn, 1 - turn))
        # Two instances, not two outages: the one that is left works.
        await asyncio.to_thread(other.wait_until_ready, READY_SECONDS)
        await kill_and_start(victim)
        logger.info("killed", service=name, instance=turn + 1)
        await asyncio.sleep(max(0.0, begun + EVERY_SECONDS - monotonic()))  # The pace of the kills.
        day.check()


@asynccontextmanager
async def followers(place: GatewayOverAll) -> AsyncIterator[list[Follower]]:
    """Readers of the whole stream, and one of new signals only."""
    found = []
    for role, selection in (("admin", ""), ("viewer", ""), ("nursing", "?event_type=new_signal")):
        person = api(place, role)
        await person.login()
        found.append(Follower(person, selection))
    tasks = [asyncio.create_task(follower.run()) for follower in found]
    try:
        await asyncio.gather(*(asyncio.wait_for(follower.connected.wait(), 30) for follower in found))
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def told(stack: LocalStack, notes: Notes) -> list[str]:
    """What was acknowledged and is not there exactly once, and what is there though nobody asked for it."""
    found = []
    ids = list(notes.signals)
    events: dict[UUID, list[str]] = {}
    audit = "SELECT subject, type, source FROM activity.audit_log WHERE subject = ANY($1) ORDER BY position"
    for row in await query(stack, audit, ids):
        if row["source"] == "/services/signals":
            events.setdefault(row["subject"], []).append(row["type"].split(".")[2])
    columns = "SELECT id, metric_value, description FROM signals.signals WHERE id = ANY($1)"
    rows = {row["id"]: row for row in await query(stack, columns, ids)}
    for signal, messages in notes.signals.items():
        expected = ["redetected" if "2026-08" in messages[0]["detected_at"] else "detected"]
        expected += ["corrected"] * (len(messages) - 1)
        if events.get(signal) != expected:
            found.append(f"{signal} had {events.get(signal)} instead of {expected}")
        stored, last = rows.get(signal), messages[-1]
        if stored is None or (stored["metric_value"], stored["description"]) != (
            Decimal(str(last["metric_value"])),
            last["description"],
        ):
            found.append(f"{signal} is {stored}, and the last that was published is {last}")
    return found + await _steps(stack, notes) + await _comments(stack, notes) + await _sessions(stack, notes)


async def _steps(stack: LocalStack, notes: Notes) -> list[str]:
    history = (
        "SELECT signal_id, to_status::text FROM workflow.assignment_transitions WHERE signal_id = ANY($1) ORDER BY id"
    )
    lines: dict[UUID, list[str]] = {}
    for row in await query(stack, history, list(notes.signals)):
        lines.setdefault(row["signal_id"], []).append(row["to_status"])
    return [
        f"{signal} went {lines.get(signal)}, and was answered {notes.steps.get(signal)}"
        for signal in lines.keys() | notes.steps.keys()
        if lines.get(signal) != notes.steps.get(signal)
    ]


async def _comments(stack: LocalStack, notes: Notes) -> list[str]:
    written = "SELECT text FROM workflow.comments WHERE signal_id = ANY($1)"
    times = Counter(row["text"] for row in await query(stack, written, list(notes.signals)))
    return [
        f"a comment is there {times[text]} times, acknowledged: {acknowledged}"
        for text, acknowledged in notes.comments.items()
        if not acknowledged <= times[text] <= 1
    ] + [f"nobody wrote {text}" for text in times.keys() - notes.comments.keys()]


async def _sessions(stack: LocalStack, notes: Notes) -> list[str]:
    logins = (
        "SELECT envelope->'data'->>'session_id' AS id FROM activity.audit_log "
        "WHERE type = 'compass.login.succeeded.v1' AND envelope->'data'->>'session_id' = ANY($1)"
    )
    times = Counter(UUID(row["id"]) for row in await query(stack, logins, [str(each) for each in notes.sessions]))
    return [f"the login of session {each} is told {times[each]} times" for each in notes.sessions if times[each] != 1]


def read_by(followers: list[Follower], notes: Notes) -> list[str]:
    """What the readers of the stream missed or met twice."""
    found = []
    for number, follower in enumerate(followers):
        positions = follower.positions or [0]
        if positions != sorted(set(positions)):
            found.append(f"reader {number} met events twice or out of order")
        if number < 2 and len(positions) != positions[-1] - positions[0] + 1:
            found.append(f"reader {number} has a gap")
        missed = {str(signal) for signal, messages in notes.signals.items() if "2026-07" in messages[0]["detected_at"]}
        missed -= set(follower.signals)
        if missed:
            found.append(f"reader {number} was never told of {len(missed)} signals, {sorted(missed)[:3]} among them")
    return found


@pytest.mark.timeout(int(180 + KILLS * (EVERY_SECONDS + 30)))
async def test_nothing_is_lost_doubled_or_out_of_order_while_instances_are_killed(stack: LocalStack) -> None:
    with Instances(stack, "second") as second, GatewayOverAll(stack, second) as gateway:
        await asyncio.to_thread(second.start)
        begin = await oracles.ends(stack)
        day = WorkingDay(stack, gateway)
        async with followers(gateway) as readers:
            await day.publish_calmly(STOCK)
            await day.begin()
            await kill_again_and_again(day, stack, second)
            await day.end()

            async def all_complaints() -> list[str]:
                found = await told(stack, day.notes) + await oracles.complaints(stack, day.notes.signals)
                return found + read_by(readers, day.notes)

            assert await eventually(all_complaints, lambda found: not found, seconds=60, every=0.5) == []
            # Nobody is killed any more: one relay of each service is at work, and what it tells, it tells once.
            calm = await oracles.ends(stack)
            await day.publish_calmly(CALM_SIGNALS)
            assert await eventually(all_complaints, lambda found: not found, seconds=60, every=0.5) == []
        assert await oracles.topic_complaints(stack, day.notes.signals, begin, calm) == []
    assert day.notes.surprises == []
    assert await oracles.chain_is_sound(stack)
    report(day.notes, readers, await _work(stack, day.notes))


async def _work(stack: LocalStack, notes: Notes) -> int:
    closed = "SELECT count(*) FROM workflow.assignments WHERE signal_id = ANY($1) AND status = 'closed'"
    return await count(stack, closed, list(notes.signals))


def report(notes: Notes, readers: list[Follower], closed: int) -> None:
    """What it was judged by; a day on which nothing happened would be a good one, too."""
    figures: dict[str, Any] = {
        "messages": sum(map(len, notes.signals.values())),
        "signals": len(notes.signals),
        "closed": closed,
        "comments": len(notes.comments),
        "comments of unknown fate": sum(not acknowledged for acknowledged in notes.comments.values()),
        "sessions": len(notes.sessions),
        "writes sent again": notes.repeated,
        "answers": dict(notes.answers),
        "connections of stream readers": [reader.connections for reader in readers],
    }
    logger.info("the day", **figures)
    assert closed == sum(steps == CLOSED for steps in notes.steps.values()) > 0, figures
    assert any(reader.connections > 1 for reader in readers), figures
