"""Few messages of several members are one transaction; nobody is told that theirs are stored before they are."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db import SessionMaker
from shared.events.topics import ENGINE_SIGNALS
from shared.gathering import Gathering
from shared.inbox import Message
from shared.kafka import BatchProcessor, Subscription
from shared.positions import FEW
from tests.support.eventually import eventually
from tests.support.factories import message


class Store:
    """Stores a batch when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.let = asyncio.Event()

    async def __call__(self, messages: Sequence[Message]) -> None:
        self.batches.append([one.offset for one in messages])
        await self.let.wait()


def messages(*offsets: int, partition: int = 0) -> list[Message]:
    return [message(ENGINE_SIGNALS, b"x", offset=offset, partition=partition) for offset in offsets]


async def until(store: Store, batches: int) -> None:
    async def begun() -> int:
        return len(store.batches)

    await eventually(begun, lambda begun: begun >= batches, every=0.001)


async def test_what_comes_together_is_stored_together_and_what_comes_meanwhile_next() -> None:
    store = Store()
    gathering = Gathering(store)
    first = [asyncio.create_task(gathering(messages(offset))) for offset in (1, 2)]
    await until(store, 1)
    second = [asyncio.create_task(gathering(messages(*offsets))) for offsets in ((3, 4), (5,))]
    await asyncio.sleep(0.01)
    assert store.batches == [[1, 2]]
    assert not any(task.done() for task in first + second)
    store.let.set()
    await asyncio.gather(*first, *second)
    assert store.batches == [[1, 2], [3, 4, 5]]
    await gathering(messages(6))
    assert store.batches[2:] == [[6]]


async def test_a_member_that_is_gone_holds_up_nobody() -> None:
    store = Store()
    gathering = Gathering(store)
    gone, stays = (asyncio.create_task(gathering(messages(offset))) for offset in (1, 2))
    await until(store, 1)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    store.let.set()
    await stays
    assert store.batches == [[1, 2]]


async def test_nobody_is_told_that_what_was_broken_off_is_stored() -> None:
    store = Store()
    gathering = Gathering(store)
    first = asyncio.create_task(gathering(messages(1)))
    await until(store, 1)
    second = asyncio.create_task(gathering(messages(2)))
    await asyncio.sleep(0.001)
    assert gathering.task is not None
    gathering.task.cancel()
    for task in (first, second):
        with pytest.raises(asyncio.CancelledError):
            await task
    store.let.set()
    await gathering(messages(3))
    assert store.batches == [[1], [3]]


async def test_members_of_a_group_store_few_together_and_many_apart(session_maker: SessionMaker) -> None:
    batches: list[int] = []

    async def handle(_: AsyncSession, fresh: Sequence[Message]) -> Sequence[Any]:
        batches.append(len(fresh))
        return []

    first = BatchProcessor("signals", Subscription(ENGINE_SIGNALS, "signals.test", handle, members=3), session_maker)
    second, third = first.another(), first.another()
    await asyncio.gather(
        first(messages(0, 1)),
        second(messages(0, partition=1)),
        third(messages(*range(FEW + 1), partition=2)),
    )
    assert sorted(batches) == [3, FEW + 1]
    assert not any(member.unfinished or member.busy for member in (first, second, third))
