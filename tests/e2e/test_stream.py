"""Readers of the live feed while their instance is killed, and while it is told to stop."""

import asyncio
from time import monotonic
from uuid import uuid4

import pytest

from deploy.local.stack import LocalStack
from tests.e2e.api import api, count, id_of, send
from tests.e2e.follower import Follower
from tests.support.eventually import eventually
from tests.support.factories import engine_signal

SIGNALS = 600


async def _followers(stack: LocalStack, ids: list[str]) -> tuple[list[Follower], list[asyncio.Task[None]]]:
    """Some of everything, some of one signal; all connected."""
    followers = []
    # The gateway limits how often one person asks, and the service how many streams they have.
    for role in ("admin", "viewer", "nursing"):
        person = api(stack, role)
        await person.login()
        followers += [Follower(person), Follower(person), Follower(person, "?event_type=new_signal")]
        followers += [Follower(person, f"?signal_id={ids[len(followers)]}")]
    tasks = [asyncio.create_task(follower.run()) for follower in followers]
    await asyncio.gather(*(asyncio.wait_for(follower.connected.wait(), 30) for follower in followers))
    return followers, tasks


@pytest.mark.timeout(300)
async def test_every_reader_has_each_event_once_although_the_instance_is_killed(stack: LocalStack) -> None:
    node = f"node:stream-{uuid4().hex[:8]}"
    values = [
        engine_signal(canonical_node_id=node, facility=f"Facility {number}", facility_id=f"S{number}")
        for number in range(SIGNALS)
    ]
    ids = [str(id_of(value)) for value in values]
    followers, tasks = await _followers(stack, ids)
    try:
        activity = stack.service("activity")
        for start in range(0, SIGNALS, 20):
            await send(stack, values[start : start + 20])
            if start in (SIGNALS // 5, SIGNALS // 2):
                await asyncio.to_thread(activity.kill)
            if start in (SIGNALS // 5 + 60, SIGNALS // 2 + 60):
                await asyncio.to_thread(activity.start)

        async def seen() -> list[int]:
            return [len(set(ids) & set(follower.signals)) for follower in followers]

        wanted = [1 if number % 4 == 3 else SIGNALS for number in range(len(followers))]
        assert await eventually(seen, lambda numbers: numbers == wanted, seconds=120) == wanted
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for follower in followers:
        assert follower.positions == sorted(set(follower.positions))
        assert follower.connections >= 2
    whole = next(iter(followers)).positions
    # Readers of everything have the same, without a gap.
    assert whole == list(range(whole[0], whole[-1] + 1))
    shown = "SELECT count(*) FROM activity.activity_events WHERE position BETWEEN $1 AND $2"
    assert await count(stack, shown, whole[0], whole[-1]) == len(whole)


@pytest.mark.timeout(180)
async def test_an_instance_that_stops_sends_its_readers_away_at_once(stack: LocalStack) -> None:
    node = f"node:stop-{uuid4().hex[:8]}"
    before, after = (
        engine_signal(canonical_node_id=node, facility=f"Facility {number}", facility_id=f"T{number}")
        for number in range(2)
    )
    person = api(stack, "admin")
    await person.login()
    follower = Follower(person, "?event_type=new_signal")
    task = asyncio.create_task(follower.run())
    activity = stack.service("activity")
    try:
        await asyncio.wait_for(follower.connected.wait(), 30)
        await send(stack, [before])

        async def signals() -> list[str]:
            return follower.signals

        await eventually(signals, lambda found: str(id_of(before)) in found, seconds=30)
        begun = monotonic()
        await asyncio.to_thread(activity.stop)
        # Uvicorn alone would have waited for its 15 seconds.
        assert monotonic() - begun < 12
        assert "reconnect" in follower.last_words
        await send(stack, [after])
        await asyncio.to_thread(activity.start)
        await eventually(signals, lambda found: str(id_of(after)) in found, seconds=60)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not activity.process.is_running:
            await asyncio.to_thread(activity.start)
    assert follower.positions == sorted(set(follower.positions))
