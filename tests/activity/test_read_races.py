"""Who marks at the same time: nobody waits in a circle, and each is told what they alone have marked."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity import repository_reads, service_reads
from services.activity.models import BLOCK
from services.activity.repository_filters import FeedFilters
from shared.db import SessionMaker
from tests.activity.reads import OTHER, SIZE, THIRDS, USER, event_id, flagged, unread_positions
from tests.support.eventually import eventually
from tests.support.service import user_id

THIRD = user_id("nursing_leadership")
ALL = FeedFilters()
Answer = TypeVar("Answer")
Step = Callable[[AsyncSession], Awaitable[Answer]]

WATERMARK = f"SELECT 1 FROM feed_read_watermarks WHERE user_id = '{USER}' FOR UPDATE"  # noqa: S608 - a constant
SWEEP = "SELECT 1 FROM feed_read_sweep FOR UPDATE"


def event(position: int) -> str:
    """A statement that locks an event."""
    return f"SELECT 1 FROM activity_events WHERE position = {position} FOR UPDATE"  # noqa: S608 - a number


async def committed(maker: SessionMaker, step: Step[Answer]) -> Answer:
    """Take a step in a transaction of its own."""
    async with maker() as session, session.begin():
        return await step(session)


@asynccontextmanager
async def locked(maker: SessionMaker, statement: str) -> AsyncIterator[None]:
    """Keep what the statement locks until the block ends."""
    async with maker() as session, session.begin():
        (await session.execute(text(statement))).one()
        yield


async def started(maker: SessionMaker, step: Step[Answer]) -> asyncio.Task[Answer]:
    """A step that is under way, as far as it gets: until it is done, or waits for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

    async def count(session: AsyncSession) -> int:
        found: int = (await session.execute(text(waiting))).scalar_one()
        return found

    before = await committed(maker, count)
    task = asyncio.create_task(committed(maker, step))

    async def settled() -> bool:
        return task.done() or await committed(maker, count) > before

    await eventually(settled)
    return task


def marks(user: UUID, *positions: int) -> Step[tuple[int, repository_reads.ReadState]]:
    """Marking events one by one."""
    ids = [event_id(position) for position in positions]
    return lambda session: service_reads.mark_some(session, user, ids)


def marks_all(user: UUID, filters: FeedFilters, up_to: int) -> Step[tuple[int, repository_reads.ReadState]]:
    """Marking by filter."""
    return lambda session: service_reads.mark_all(session, user, filters, up_to)


async def note(session: AsyncSession, user: UUID, filters: FeedFilters, up_to: int) -> None:
    """Leave it to the worker to flag what the user has marked."""
    await repository_reads.mark_matching(session, await repository_reads.state(session, user), filters, up_to)


async def watermark(session: AsyncSession, user: UUID, position: int) -> None:
    """Note that the user has read up to a position."""
    values = {"user_id": user, "position": position}
    await session.execute(text("INSERT INTO feed_read_watermarks VALUES (:user_id, :position)"), values)


async def follow_to_the_end(maker: SessionMaker) -> None:
    """Let the flags follow until there is nothing left to do."""

    async def left(session: AsyncSession) -> bool:
        more = await service_reads.follow(session)
        waiting = "SELECT EXISTS (SELECT FROM feed_read_bits WHERE NOT flagged)"
        return more or bool((await session.execute(text(waiting))).scalar_one())

    await eventually(partial(committed, maker, left), lambda more: not more, every=0)


async def test_the_worker_and_who_marks_by_filter_flag_the_same_events(
    feed: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.activity.service_reads._SWEEP_STEP", 1)
    for user in (OTHER, THIRD):
        await committed(feed, partial(note, user=user, filters=THIRDS, up_to=BLOCK))
    async with locked(feed, SWEEP):
        worker = await started(feed, service_reads.follow)
        marking = await started(feed, marks_all(USER, THIRDS, BLOCK))
    await asyncio.gather(worker, marking)
    await follow_to_the_end(feed)
    assert await committed(feed, flagged) == list(range(3, BLOCK + 1, 3))


async def test_what_is_swept_after_flags_was_marked_by_another(feed: SessionMaker) -> None:
    await committed(feed, partial(watermark, user=THIRD, position=10))
    async with locked(feed, SWEEP):
        by_filter = await started(feed, marks_all(USER, THIRDS, 12))
        singly = await started(feed, marks(OTHER, 5, 12))
    await asyncio.gather(by_filter, singly)
    await follow_to_the_end(feed)
    assert await committed(feed, flagged) == [*range(1, 11), 12]


async def test_a_watermark_rises_over_a_block_that_the_worker_holds(feed: SessionMaker) -> None:
    hole = 2 * BLOCK - 1
    await committed(feed, partial(watermark, user=USER, position=hole - 1))
    # Four blocks are for the worker to flag: two that follow the hole, and two that name the event which fills it.
    await committed(feed, partial(note, user=THIRD, filters=ALL, up_to=hole))
    async with feed() as session, session.begin():
        ids = [event_id(position) for position in range(hole + 1, SIZE)]
        await repository_reads.mark_ids(session, await repository_reads.state(session, USER), ids)
        await session.execute(text("UPDATE feed_read_bits SET flagged = FALSE"))
    async with locked(feed, WATERMARK):
        singly = await started(feed, marks(USER, hole))
        worker = await started(feed, service_reads.follow)
    await asyncio.gather(worker, singly)
    assert await committed(feed, unread_positions) == [SIZE]


async def test_a_user_marks_by_filter_and_singly_at_the_same_time(feed: SessionMaker) -> None:
    async with feed() as session, session.begin():
        await session.execute(text("UPDATE activity_events SET user_id = :user WHERE position <= 10"), {"user": OTHER})
    async with locked(feed, event(1)):
        singly = await started(feed, marks(USER, 1))
        by_filter = await started(feed, marks_all(USER, THIRDS, 30))
    (one, _), (many, _) = await asyncio.gather(singly, by_filter)
    assert one + many == 10 + 7
    assert len(await committed(feed, unread_positions)) == SIZE - 17


async def test_each_request_of_a_user_counts_what_it_has_marked_itself(feed: SessionMaker) -> None:
    await committed(feed, partial(watermark, user=USER, position=0))
    async with locked(feed, WATERMARK):
        everything = await started(feed, marks_all(USER, ALL, 10))
        singly = await started(feed, marks(USER, *range(5, 16)))
    assert sum(marked for marked, _ in await asyncio.gather(everything, singly)) == 15


@pytest.mark.parametrize("taken", [1, 5, 10])
async def test_nobody_who_marks_waits_for_an_event(feed: SessionMaker, taken: int) -> None:
    await committed(feed, partial(note, user=OTHER, filters=THIRDS, up_to=10))
    async with locked(feed, event(taken)):
        assert (await committed(feed, marks(USER, taken, 12)))[0] == 2
        assert (await committed(feed, marks_all(THIRD, ALL, 10)))[0] == 10
        assert [await committed(feed, service_reads.follow) for _ in range(2)] == [False, False]
        assert await committed(feed, flagged) == [one for one in (*range(1, 11), 12) if one != taken]
    await follow_to_the_end(feed)
    assert await committed(feed, flagged) == [*range(1, 11), 12]


async def test_an_event_that_was_passed_by_as_it_was_marked_is_flagged_later(feed: SessionMaker) -> None:
    async with locked(feed, event(5)):
        assert (await committed(feed, marks(USER, 4, 5, 6)))[0] == 3
        assert await committed(feed, flagged) == [4, 6]
    await follow_to_the_end(feed)
    assert await committed(feed, flagged) == [4, 5, 6]


async def test_the_sweep_goes_on_where_something_was_passed_by(feed: SessionMaker) -> None:
    await committed(feed, partial(watermark, user=USER, position=10))
    async with locked(feed, event(5)):
        assert [await committed(feed, partial(repository_reads.sweep, limit=7)) for _ in range(2)] == [True, False]
    assert [await committed(feed, partial(repository_reads.sweep, limit=5)) for _ in range(3)] == [True, False, False]
    assert await committed(feed, flagged) == list(range(1, 11))


async def test_a_block_of_which_an_event_was_passed_by_is_flagged_later(feed: SessionMaker) -> None:
    await committed(feed, partial(note, user=USER, filters=THIRDS, up_to=SIZE))
    async with locked(feed, event(BLOCK + 2)):
        flag = partial(repository_reads.flag, limit=4 * BLOCK)
        assert [await committed(feed, flag) for _ in range(2)] == [True, False]
        async with feed() as session:
            left = await session.execute(text("SELECT block FROM feed_read_bits WHERE NOT flagged"))
            assert left.scalars().all() == [1]
    await follow_to_the_end(feed)
    assert await committed(feed, flagged) == list(range(3, SIZE + 1, 3))


async def test_the_worker_passes_by_who_marks(feed: SessionMaker) -> None:
    await committed(feed, partial(note, user=USER, filters=THIRDS, up_to=9))
    async with locked(feed, SWEEP), locked(feed, "SELECT 1 FROM feed_read_bits FOR UPDATE"):
        assert await committed(feed, service_reads.follow) is False
    await follow_to_the_end(feed)
    assert await committed(feed, flagged) == [3, 6, 9]


@pytest.mark.parametrize("new", [True, False])
async def test_the_lock_of_a_user_is_kept_whether_or_not_they_have_marked_before(feed: SessionMaker, new: bool) -> None:
    if not new:
        await committed(feed, partial(watermark, user=USER, position=0))
    async with feed() as session, session.begin():
        await repository_reads.lock_user(session, USER)
        task = await started(feed, partial(repository_reads.lock_user, user_id=USER))
        assert not task.done()
        await committed(feed, partial(repository_reads.lock_user, user_id=OTHER))
    await task


@pytest.mark.parametrize("users", [(USER,), (USER, OTHER, THIRD)])
@pytest.mark.parametrize("seed", range(3))
async def test_whoever_marks_at_the_same_time_all_is_as_if_one_came_after_the_other(
    feed: SessionMaker, users: tuple[UUID, ...], seed: int
) -> None:
    """Against a plain model: a set of read positions per user."""
    chance = random.Random(seed)  # noqa: S311 - the same in every run
    read: dict[UUID, set[int]] = {user: set() for user in users}
    whose, steps = [], []
    for _ in range(24):
        user, edge = chance.choice(users), chance.randrange(1, 4) * BLOCK + chance.randrange(-2, 2)
        match chance.choice(["one", "some", "run", "filter", "filter", "all"]):
            case "one":
                chosen = {edge}
            case "some":
                chosen = {edge, *chance.sample(range(1, SIZE + 1), 20)}
            case "run":
                chosen = set(range(edge - chance.randrange(300), edge + 1))
            case "filter":
                chosen = set(range(3, edge + 1, 3))
                steps.append(marks_all(user, THIRDS, edge))
            case _:
                edge = chance.randrange(1500)
                chosen = set(range(1, edge + 1))
                steps.append(marks_all(user, ALL, edge))
        whose.append(user)
        read[user] |= chosen
        if len(steps) < len(whose):
            steps.append(marks(user, *chance.sample(sorted(chosen), len(chosen))))
    # Two workers and these find a connection each.
    room = asyncio.Semaphore(8)

    async def mark(step: Step[tuple[int, repository_reads.ReadState]]) -> tuple[int, repository_reads.ReadState]:
        async with room:
            return await committed(feed, step)

    marking = asyncio.gather(*map(mark, steps))

    async def worker() -> None:
        while not marking.done():
            await committed(feed, service_reads.follow)

    answers, _, _ = await asyncio.gather(marking, worker(), worker())
    told = dict.fromkeys(users, 0)
    for user, (marked, _) in zip(whose, answers, strict=True):
        told[user] += marked
    assert told == {user: len(positions) for user, positions in read.items()}
    for user in users:
        left = await committed(feed, partial(unread_positions, user=user))
        assert left == sorted(set(range(1, SIZE + 1)) - read[user])
    await follow_to_the_end(feed)
    assert await committed(feed, flagged) == sorted(set.union(*read.values()))
