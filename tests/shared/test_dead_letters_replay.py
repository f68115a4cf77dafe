"""Replaying dead letters: the message itself, for the group that rejected it, once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from shared import dead_letters_command, dead_letters_reading, dead_letters_replay
from shared.db import SessionMaker
from shared.dead_letters import REPLAY_GROUP_HEADER, REPLAY_OF_HEADER, Rejection
from shared.dead_letters_reading import DeadLetterFilters, readable
from shared.dead_letters_replay import Replay
from shared.events.decoding import RejectedMessageError
from shared.events.topics import COMPASS_SIGNALS, ENGINE_SIGNALS, Topic
from shared.inbox import Message
from shared.kafka import BatchProcessor, Subscription
from shared.outbox import decode_headers
from shared.settings import ServiceSettings
from tests.support.factories import message

Query = Callable[..., Awaitable[list[Any]]]


def processor(
    maker: SessionMaker, bad: bool, group: str = "signals.test", topic: Topic = ENGINE_SIGNALS
) -> tuple[BatchProcessor, list[Message]]:
    """A group that rejects everything, or takes everything."""
    taken: list[Message] = []

    async def handle(_: AsyncSession, messages: Sequence[Message]) -> list[Rejection]:
        if bad:
            return [Rejection(each, RejectedMessageError("bad", "It is bad.")) for each in messages]
        taken.extend(messages)
        return []

    return BatchProcessor("signals", Subscription(topic, group, handle), maker), taken


async def reject(maker: SessionMaker, *messages: Message, group: str = "signals.test") -> None:
    process, _ = processor(maker, bad=True, group=group)
    await process(list(messages))


async def replay(maker: SessionMaker, act: Callable[[AsyncSession], Awaitable[Replay]]) -> Replay:
    async with maker() as session, session.begin():
        return await act(session)


async def matching(maker: SessionMaker, most: int = 500, **filters: Any) -> Replay:
    return await replay(
        maker, lambda session: dead_letters_replay.replay_matching(session, DeadLetterFilters(**filters), most)
    )


async def by_ids(maker: SessionMaker, *ids: UUID) -> Replay:
    return await replay(maker, lambda session: dead_letters_replay.replay_ids(session, ids))


async def relayed(query: Query, topic: Topic = ENGINE_SIGNALS, offset: int = 1000) -> list[Message]:
    """What the outbox holds for the topic, as its consumers get it."""
    rows = await query("SELECT key, value, headers FROM outbox WHERE topic = :topic ORDER BY id", topic=topic.name)
    return [
        message(topic, row.value, key=row.key, headers=decode_headers(row.headers), offset=offset + number)
        for number, row in enumerate(rows)
    ]


async def letters(query: Query) -> list[Any]:
    return await query('SELECT * FROM dead_letters ORDER BY topic, partition, "offset"')


async def test_the_message_goes_out_as_it_came(session_maker: SessionMaker, query: Query) -> None:
    headers = [("h", b"\xff"), ("n", None), ("h", b"2")]
    await reject(session_maker, message(ENGINE_SIGNALS, b"\xff\0", key=None, headers=headers, offset=7))
    [letter] = await letters(query)
    outcome = await by_ids(session_maker, letter.id)
    assert [found.offset for found in outcome.replayed] == [7]
    [sent] = await relayed(query)
    assert (sent.key, sent.value) == (None, b"\xff\0")
    assert list(sent.headers) == [
        *headers,
        (REPLAY_OF_HEADER, str(letter.id).encode()),
        (REPLAY_GROUP_HEADER, b"signals.test"),
    ]
    [letter] = await letters(query)
    assert letter.replayed_at is not None


async def test_only_the_group_that_rejected_it_takes_it(session_maker: SessionMaker, query: Query) -> None:
    await reject(session_maker, message(ENGINE_SIGNALS, b"1", offset=0))
    await matching(session_maker)
    fixed, taken = processor(session_maker, bad=False)
    other, passed_over = processor(session_maker, bad=False, group="signals.other")
    batch = [*await relayed(query), message(ENGINE_SIGNALS, b"2", offset=2000)]
    await fixed(batch)
    await other(batch)
    assert [each.value for each in taken] == [b"1", b"2"]
    assert [each.value for each in passed_over] == [b"2"]
    # Passed over is dealt with all the same: it is not looked at again.
    [row] = await query("SELECT next_offset FROM inbox WHERE consumer_group = 'signals.other'")
    assert row.next_offset == 2001


async def test_replaying_twice_does_nothing_twice(session_maker: SessionMaker, query: Query) -> None:
    await reject(session_maker, *(message(ENGINE_SIGNALS, b"%d" % n, offset=n) for n in range(3)))
    ids = [letter.id for letter in await letters(query)]
    assert len((await by_ids(session_maker, *ids[:2])).replayed) == 2
    again = await by_ids(session_maker, *ids, missing := uuid4())
    assert ([found.id for found in again.replayed], again.unknown) == (ids[2:], [missing])
    assert sorted(again.already_replayed) == sorted(ids[:2])
    assert (await matching(session_maker)).replayed == []
    assert len(await relayed(query)) == 3


async def test_replays_at_the_same_time_replay_once(session_maker: SessionMaker, query: Query) -> None:
    await reject(session_maker, *(message(ENGINE_SIGNALS, b"%d" % n, offset=n) for n in range(40)))
    ids = [letter.id for letter in await letters(query)]

    async def in_steps() -> list[UUID]:
        found = []
        while True:
            outcome = await matching(session_maker, most=3)
            found += [letter.id for letter in outcome.replayed]
            if not outcome.has_more:
                return found

    outcomes = await asyncio.gather(in_steps(), in_steps(), by_ids(session_maker, *reversed(ids)), in_steps())
    replayed = [
        each for found in outcomes for each in (found if isinstance(found, list) else [x.id for x in found.replayed])
    ]
    assert sorted(replayed) == sorted(ids)
    assert len(await relayed(query)) == 40


async def test_they_go_out_in_the_order_in_which_they_stood(session_maker: SessionMaker, query: Query) -> None:
    for offset in (3, 5, 9):
        await reject(session_maker, message(ENGINE_SIGNALS, b"%d" % offset, partition=1, offset=offset))
        await reject(session_maker, message(ENGINE_SIGNALS, b"0%d" % offset, partition=0, offset=offset))
    first = await matching(session_maker, most=4)
    assert first.has_more
    second = await matching(session_maker, most=4)
    assert not second.has_more
    assert [each.value for each in await relayed(query)] == [b"03", b"05", b"09", b"3", b"5", b"9"]


async def test_one_that_fails_again_is_a_new_dead_letter(session_maker: SessionMaker, query: Query) -> None:
    await reject(session_maker, message(ENGINE_SIGNALS, b"1", offset=0))
    await matching(session_maker)
    bad, _ = processor(session_maker, bad=True)
    await bad(await relayed(query))
    first, second = await letters(query)
    assert (first.replayed_at is None, second.replayed_at is None) == (False, True)
    assert (first.value, second.value) == (b"1", b"1")

    # Replayed once more it names its last dead letter, and only that.
    await matching(session_maker)
    last = (await relayed(query))[-1]
    assert [value for name, value in last.headers if name == REPLAY_OF_HEADER] == [str(second.id).encode()]
    assert len(last.headers) == 2


async def test_what_fits_on_no_topic_is_refused(session_maker: SessionMaker, query: Query) -> None:
    """A message that the broker never takes would hold up the outbox for ever."""
    large = ENGINE_SIGNALS.max_message_bytes - 10_000
    await reject(session_maker, message(ENGINE_SIGNALS, b"x" * large, offset=0))
    gone = Topic("engine.signals.v0", "", "", (), None, "")
    await reject(session_maker, message(gone, b"1", offset=0), group="signals.gone")
    await reject(session_maker, message(ENGINE_SIGNALS, b"1", offset=1))
    assert len((await matching(session_maker)).replayed) == 1
    ids = {letter.topic: letter.id for letter in await letters(query) if letter.replayed_at is None}
    outcome = await by_ids(session_maker, *ids.values())
    assert outcome.replayed == []
    assert "larger" in outcome.refused[ids[ENGINE_SIGNALS.name]]
    assert "no topic" in outcome.refused[ids[gone.name]]


async def test_large_ones_go_a_few_at_a_time(session_maker: SessionMaker, query: Query) -> None:
    size = 3 * 1024 * 1024
    await reject(session_maker, *(message(ENGINE_SIGNALS, b"x" * size, offset=n) for n in range(7)))
    outcome = await by_ids(session_maker, *(letter.id for letter in await letters(query)))
    assert (len(outcome.replayed), outcome.has_more) == (5, True)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"topics": [ENGINE_SIGNALS.name]}, [3, 2, 1, 0]),
        ({"topics": [ENGINE_SIGNALS.name, COMPASS_SIGNALS.name]}, [4, 3, 2, 1, 0]),
        ({"consumer_groups": ["signals.other"]}, [4]),
        ({"codes": ["bad"]}, [4, 3, 2, 1, 0]),
        ({"codes": ["good"]}, []),
        ({"replayed": True}, [0]),
        ({"replayed": False}, [4, 3, 2, 1]),
        ({"rejected_to": datetime(2020, 1, 1, tzinfo=UTC)}, []),
        ({"rejected_from": datetime(2020, 1, 1, tzinfo=UTC)}, [4, 3, 2, 1, 0]),
    ],
    ids=str,
)
async def test_pages_by_filter(
    session_maker: SessionMaker, query: Query, filters: dict[str, Any], expected: list[int]
) -> None:
    for number in range(4):
        await reject(session_maker, message(ENGINE_SIGNALS, b"", offset=number))
    await reject(session_maker, message(COMPASS_SIGNALS, b"", offset=4), group="signals.other")
    await by_ids(session_maker, (await query('SELECT id FROM dead_letters WHERE "offset" = 0'))[0].id)
    found: list[int] = []
    after = None
    async with session_maker() as session:
        while rows := await dead_letters_reading.page(session, DeadLetterFilters(**filters), after, 2):
            found += [row.offset for row in rows]
            after = (rows[-1].rejected_at, rows[-1].id)
    assert found == expected


def test_bytes_for_a_person_to_read() -> None:
    assert (readable(None), readable("é".encode()), readable(b"\xff")) == (None, ("utf-8", "é"), ("base64", "/w=="))


def command(monkeypatch: pytest.MonkeyPatch, settings: ServiceSettings, *arguments: str) -> int:
    monkeypatch.setattr(dead_letters_command, "load", lambda _: settings)
    return dead_letters_command.main("shared_test", ServiceSettings, list(arguments))


async def test_the_command(
    session_maker: SessionMaker,
    query: Query,
    settings: ServiceSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await reject(session_maker, *(message(ENGINE_SIGNALS, b"%d" % n, offset=n) for n in range(3)))
    first, *_ = await letters(query)
    capsys.readouterr()

    async def run(*arguments: str) -> tuple[int, str]:
        status = await asyncio.to_thread(command, monkeypatch, settings, *arguments)
        return status, capsys.readouterr().out

    status, out = await run("list", "--code", "bad", "--no-replayed")
    assert (status, len(out.splitlines())) == (0, 3)
    status, out = await run("show", str(first.id))
    assert status == 0
    assert "reason: It is bad." in out
    assert "value, 1 bytes: 0" in out
    assert (await run("show", str(uuid4())))[0] == 1
    status, out = await run("replay", str(first.id), str(uuid4()))
    assert (status, out.splitlines()[-1]) == (1, "1 dead letters replayed")
    status, out = await run("replay", "--group", "signals.test")
    assert (status, out.splitlines()[-1]) == (0, "2 dead letters replayed")
    status, out = await run("replay", "--from", "2020-01-01T00:00:00Z")
    assert (status, out.splitlines()[-1]) == (0, "0 dead letters replayed")
    assert len(await relayed(query)) == 3


@pytest.mark.parametrize(
    "arguments",
    [["replay"], ["replay", str(uuid4()), "--topic", "a"], ["list", "--from", "yesterday"], ["show", "1"], []],
)
def test_the_command_refuses(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        dead_letters_command.main("signals", ServiceSettings, arguments)
    assert end.value.code == 2
    assert "usage:" in capsys.readouterr().err
