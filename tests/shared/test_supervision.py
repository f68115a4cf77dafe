"""A worker that ends before its time is begun again, and said to be down meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.app import create_app
from shared.db import SessionMaker
from shared.dead_letters import Rejection
from shared.events.topics import ALL
from shared.inbox import Message
from shared.kafka import Consumers, Subscription
from shared.settings import ServiceSettings
from shared.supervision import Supervised, end_all, happens, look_again
from shared.telemetry import current_cause
from tests.support.eventually import eventually

Work = Callable[[], Coroutine[Any, Any, None]]


@asynccontextmanager
async def supervised(work: Work, **pauses: float) -> AsyncIterator[Supervised]:
    supervisor = Supervised("work", work, **pauses)
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def is_up(supervisor: Supervised) -> bool:
    return not supervisor.is_down


class Failing:
    """Work that ends in its own way so many times, and then goes on."""

    def __init__(self, times: int, end: BaseException | None) -> None:
        self.left = times
        self.begun = 0
        self._end = end

    async def __call__(self) -> None:
        self.begun += 1
        if self.left:
            self.left -= 1
            if self._end is None:
                return
            raise self._end
        await asyncio.Event().wait()


@pytest.mark.parametrize("end", [RuntimeError("a bug"), None, asyncio.CancelledError()], ids=["raised", "ended", "cut"])
async def test_work_that_ends_is_begun_again(end: BaseException | None) -> None:
    work = Failing(3, end)
    async with supervised(work, first_pause=0.001, longest_pause=0.002) as supervisor:

        async def begun() -> int:
            return work.begun

        assert await eventually(begun, lambda times: times == 4) == 4
        assert await eventually(lambda: is_up(supervisor))


async def test_pauses_grow_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    enough = asyncio.Event()
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 6:
            enough.set()
        await sleep(0)

    monkeypatch.setattr("shared.supervision.asyncio.sleep", note)
    async with supervised(Failing(6, ValueError()), first_pause=1, longest_pause=10):
        await asyncio.wait_for(enough.wait(), 5)
    assert pauses == [1, 2, 4, 8, 10, 10]


async def test_after_going_on_for_long_the_pauses_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    enough = asyncio.Event()
    sleep = asyncio.sleep
    # Began, ended: twice at once, then after two minutes.
    moments = iter([0.0, 0.0, 10.0, 10.0, 20.0, 140.0, 150.0, 150.0])

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            enough.set()
        await sleep(0)

    monkeypatch.setattr("shared.supervision.asyncio.sleep", note)
    monkeypatch.setattr("shared.supervision.monotonic", lambda: next(moments, 160.0))
    async with supervised(Failing(4, ValueError()), first_pause=1, longest_pause=10):
        await asyncio.wait_for(enough.wait(), 5)
    assert pauses == [1, 2, 1, 2]


class Looking:
    """Looks that find more, nothing more, or fail, as they are told; and the pauses after each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *outcomes: bool | Exception) -> None:
        self._outcomes = iter(outcomes)
        self.pauses: list[float] = []
        self.causes: list[str | None] = []
        sleep = asyncio.sleep

        async def note(seconds: float) -> None:
            self.pauses.append(seconds)
            await sleep(0)

        monkeypatch.setattr("shared.supervision.asyncio.sleep", note)

    async def __call__(self) -> bool:
        self.causes.append(current_cause().correlation_id)
        outcome = next(self._outcomes, ValueError("the last look"))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.mark.parametrize(("every", "retried"), [(600.0, 1.0), (0.25, 0.25)])
async def test_a_look_follows_at_once_while_there_is_more_and_soon_when_the_database_was_away(
    monkeypatch: pytest.MonkeyPatch, every: float, retried: float
) -> None:
    look = Looking(monkeypatch, True, True, False, ConnectionRefusedError(), TimeoutError(), False)
    with pytest.raises(ValueError, match="the last look"):
        await look_again("work", look, every)
    assert look.pauses == [0, 0, every, retried, retried, every]


async def test_each_look_is_a_cause_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    look = Looking(monkeypatch, True, False)
    with pytest.raises(ValueError, match="the last look"):
        await look_again("work", look, 5)
    assert len(set(look.causes)) == 3
    assert None not in look.causes


async def test_it_ends_when_it_is_cancelled() -> None:
    work = Failing(0, None)
    task = asyncio.create_task(Supervised("work", work).run())

    async def begun() -> int:
        return work.begun

    await eventually(begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.begun == 1


async def test_news_and_the_end_may_come_in_the_same_moment() -> None:
    news = asyncio.Event()

    async def told_for_ever() -> None:
        while True:
            news.clear()
            await happens(news, 60)

    task = asyncio.create_task(told_for_ever())
    await asyncio.sleep(0)
    news.set()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=5)
    task.cancel()
    assert done


@pytest.mark.parametrize(("set_before", "seconds", "expected"), [(True, 60, True), (False, 0.001, False)])
async def test_what_happens_is_told_from_what_does_not(set_before: bool, seconds: float, expected: bool) -> None:
    news = asyncio.Event()
    if set_before:
        news.set()
    assert await happens(news, seconds) is expected


async def test_an_end_that_was_not_heard_is_asked_for_again(capsys: pytest.CaptureFixture[str]) -> None:
    async def deaf() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def failing() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("cleaning up went wrong")

    tasks = [asyncio.create_task(deaf()), asyncio.create_task(failing(), name="upkeep")]
    await asyncio.sleep(0)
    await end_all(tasks, patience_seconds=0.01)
    assert all(task.done() for task in tasks)
    assert "cleaning up went wrong" in capsys.readouterr().out


async def test_a_consumer_that_ends_is_begun_again_and_missed_meanwhile(
    settings: ServiceSettings,
    session_maker: SessionMaker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun: list[str] = []

    def fail(_: ServiceSettings, subscription: Subscription, __: object) -> None:
        begun.append(subscription.group)
        raise RuntimeError("nobody thought of this")

    async def handle(_: AsyncSession, __: Sequence[Message]) -> Sequence[Rejection]:
        return ()

    monkeypatch.setattr("shared.kafka.create_broker", fail)
    consumers = Consumers("auth", settings, [Subscription(ALL[0], "auth.test", handle, members=2)], session_maker)
    for work in consumers.supervised:
        work._first_pause = work._longest_pause = 0.001
    consumers.start()

    async def times() -> int:
        return len(begun)

    await eventually(times, lambda found: found >= 6)
    assert consumers.unhealthy == ["auth.test"]
    await consumers.stop()
    said = capsys.readouterr().out
    assert "a worker ended, beginning again" in said
    assert "nobody thought of this" in said


async def test_readiness_names_what_is_down_and_says_whether_requests_need_it(
    settings: ServiceSettings, session_maker: SessionMaker
) -> None:
    fails = asyncio.Event()

    async def digest(_: FastAPI) -> None:
        await fails.wait()
        raise RuntimeError("a bug")

    async def handle(_: AsyncSession, __: Sequence[Message]) -> Sequence[Rejection]:
        return ()

    # There is no broker.
    subscription = Subscription(ALL[0], "auth.test", handle)
    app = create_app(settings, name="auth", description="", routers=[], workers=[digest], subscriptions=[subscription])
    app.state.session_maker = session_maker
    async with session_maker() as session, session.begin():
        await session.execute(text("CREATE TABLE alembic_version (version_num text)"))
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://s") as client:

        async def problems(path: str = "/readyz") -> list[str]:
            answer = await client.get(path)
            found: list[str] = answer.json()["problems"]
            assert (answer.status_code == 503) is bool(found)
            return found

        assert "digest is down" not in await problems()
        fails.set()
        await eventually(problems, lambda found: "digest is down" in found)
        assert "consumer auth.test does not progress" in await problems()
        needed = " ".join(await problems("/readyz/requests"))
        assert "down" not in needed
        assert "consumer" not in needed
