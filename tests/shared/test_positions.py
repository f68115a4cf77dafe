"""Which batch a reader hands on, what it tells Kafka of, and when."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError

from shared.db import SessionMaker
from shared.events.topics import ENGINE_SIGNALS
from shared.inbox import Message
from shared.positions import Pace, Reader
from tests.support.factories import message

FIRST, SECOND = TopicPartition(ENGINE_SIGNALS.name, 0), TopicPartition(ENGINE_SIGNALS.name, 1)


def from_place(place: TopicPartition, *offsets: int) -> Sequence[Message]:
    return [message(ENGINE_SIGNALS, b"{}", partition=place.partition, offset=offset) for offset in offsets]


class Fetched:
    """A consumer of what a test says."""

    def __init__(self, *looks: dict[TopicPartition, Sequence[Message]]) -> None:
        self._looks = iter(looks)
        self.committed: list[dict[TopicPartition, int]] = []
        self.sought: list[tuple[TopicPartition, int]] = []
        self.fails = False
        self.mine = {FIRST, SECOND}

    def assignment(self) -> set[TopicPartition]:
        return self.mine

    async def position(self, _: TopicPartition) -> int:
        return 0

    async def getmany(self, **_: Any) -> dict[TopicPartition, Sequence[Message]]:
        return next(self._looks, {})

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if self.fails:
            raise CommitFailedError
        self.committed.append(offsets)

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.sought.append((place, offset))


class Storing:
    """What stores the effects, or has not."""

    def __init__(self, session_maker: SessionMaker) -> None:
        self.session_maker = session_maker
        self.unfinished = False
        self.pace = Pace(0)


@pytest.fixture
def process(session_maker: SessionMaker) -> Storing:
    return Storing(session_maker)


@pytest.fixture(autouse=True)
def always_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.positions._ACKNOWLEDGE_SECONDS", 0.0)


async def test_kafka_is_told_of_a_batch_when_the_next_is_asked_for(process: Storing) -> None:
    fetched = Fetched({FIRST: from_place(FIRST, 0, 1)}, {SECOND: from_place(SECOND, 9)})
    reader = Reader("signals.test", 500, process)
    assert [one.offset for one in await reader(fetched)] == [0, 1]
    assert fetched.committed == []
    assert [one.offset for one in await reader(fetched)] == [9]
    assert fetched.committed == [{FIRST: 2}]
    await reader(fetched)
    assert fetched.committed == [{FIRST: 2}, {SECOND: 10}]


async def test_what_was_not_stored_is_gone_back_to_and_never_told(process: Storing) -> None:
    fetched = Fetched({FIRST: from_place(FIRST, 0, 1), SECOND: from_place(SECOND, 0)})
    reader = Reader("signals.test", 500, process)
    await reader(fetched)
    process.unfinished = True
    await reader(fetched)
    assert (fetched.committed, fetched.sought) == ([], [(FIRST, 0), (SECOND, 0)])


async def test_a_refused_commit_and_a_lost_partition_hold_up_nothing(process: Storing) -> None:
    fetched = Fetched({FIRST: from_place(FIRST, 0)}, {FIRST: from_place(FIRST, 1), SECOND: from_place(SECOND, 1)})
    reader = Reader("signals.test", 500, process)
    await reader(fetched)
    fetched.fails = True
    await reader(fetched)
    fetched.fails, fetched.mine = False, {SECOND}
    await reader(fetched)
    assert fetched.committed == [{SECOND: 2}]


async def test_progress_is_told_now_and_then(process: Storing, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = Fetched(*({FIRST: from_place(FIRST, number)} for number in range(5)))
    reader = Reader("signals.test", 500, process)
    monkeypatch.setattr("shared.positions._ACKNOWLEDGE_SECONDS", 3600.0)
    for _ in range(5):
        await reader(fetched)
    assert fetched.committed == []
    monkeypatch.setattr("shared.positions._ACKNOWLEDGE_SECONDS", 0.0)
    await reader(fetched)
    assert fetched.committed == [{FIRST: 5}]


async def test_few_messages_are_gathered_and_many_are_not_waited_with(
    process: Storing, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", note)
    process.pace = Pace(30)
    many = from_place(SECOND, *range(1, 61))
    first, second = Reader("signals.test", 500, process), Reader("signals.test", 500, process)
    mine = Fetched({FIRST: from_place(FIRST, 0)}, {FIRST: from_place(FIRST, 1)}, {FIRST: from_place(FIRST, 2)})
    other = Fetched({SECOND: from_place(SECOND, 0)}, {}, {SECOND: many})
    assert len(await first(mine)) == 1
    assert pauses == []
    # The other member of the group waits as well, and so does this one for what comes meanwhile.
    assert len(await second(other)) == 1
    assert [one.offset for one in await first(mine)] == [1, 2]
    assert len(pauses) == 2
    assert all(29 < pause <= 30 for pause in pauses)
    assert len(await second(other)) == 60
    assert len(pauses) == 2
