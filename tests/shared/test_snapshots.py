"""Snapshot commands: batches through the outbox, with room for others, and where to go on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared import snapshots
from shared.db import SessionMaker
from shared.events import envelope
from shared.events.signals import METRIC_SNAPSHOT, MetricChanged
from shared.events.vocabulary import MetricPolarity
from shared.outbox import Event
from shared.settings import ServiceSettings
from shared.snapshots import Page, Part, Progress
from tests.support.eventually import eventually

Query = Callable[..., Awaitable[list[Any]]]


def part(name: str, size: int, *, optional: bool = False) -> Part:
    """Subjects 1 to size, each with its number as the sequence."""

    async def read(_: AsyncSession, after: str | None, rows: int) -> Page:
        start = int(after or 0)
        numbers = range(start + 1, min(size, start + rows) + 1)
        return Page([_event(name, number) for number in numbers], str(start + rows) if start + rows < size else None)

    async def count(_: AsyncSession) -> int:
        return size

    return Part(name, read, count, optional)


def _event(name: str, number: int) -> Event:
    subject = UUID(int=number)
    data = MetricChanged(
        metric_id=f"{name}{number}",
        display_name=name,
        domain=None,
        unit=None,
        polarity=MetricPolarity.LOWER_IS_BETTER,
        target_range=None,
    )
    return Event(type=METRIC_SNAPSHOT, subject=subject, key=subject, data=data, sequence=number)


async def stored(query: Query) -> list[tuple[str, int]]:
    events = [envelope.decode(bytes(row.value)) for row in await query("SELECT value FROM outbox ORDER BY id")]
    return [(event.data_as(MetricChanged).metric_id, event.sequence) for event in events]


async def test_parts_come_in_order_and_batches_under_the_last_sequence(
    session_maker: SessionMaker, query: Query
) -> None:
    seen: list[Progress] = []
    published = await snapshots.publish(session_maker, [part("a", 5), part("b", 2)], seen.append, batch_size=2)
    assert published == 7
    assert await stored(query) == [("a1", 1), ("a2", 2), ("a3", 3), ("a4", 4), ("a5", 5), ("b1", 1), ("b2", 2)]
    assert seen == [
        Progress("a", 2, 5, "a:2"),
        Progress("a", 4, 5, "a:4"),
        Progress("a", 5, 5, ""),
        Progress("b", 2, 2, ""),
    ]
    # A snapshot is no event of the subject: nothing is counted, and the feed is not told.
    assert await query("SELECT * FROM event_sequences") == []
    values = await query("SELECT value FROM outbox")
    assert all(envelope.decode(bytes(row.value)).feedtype is None for row in values)


@pytest.mark.parametrize(
    ("place", "expected"), [("a:4", ["a5", "b1"]), ("b:", ["b1"]), (None, ["a1", "a2", "a3", "a4", "a5", "b1"])]
)
async def test_it_goes_on_from_a_place(
    session_maker: SessionMaker, query: Query, place: str | None, expected: list[str]
) -> None:
    await snapshots.publish(session_maker, [part("a", 5), part("b", 1)], lambda _: None, after=place, batch_size=2)
    assert [name for name, _ in await stored(query)] == expected


async def test_it_waits_while_the_outbox_is_full(session_maker: SessionMaker, query: Query) -> None:
    task = asyncio.create_task(
        snapshots.publish(session_maker, [part("a", 7)], lambda _: None, batch_size=2, most_waiting=4)
    )

    async def waiting() -> int:
        return int((await query("SELECT count(*) FROM outbox"))[0][0])

    most = relayed = 0
    async with asyncio.timeout(20):
        while not task.done():
            most = max(most, await waiting())
            if most >= 4:
                async with session_maker() as session, session.begin():
                    gone = await session.execute(
                        text("DELETE FROM outbox WHERE id = (SELECT min(id) FROM outbox) RETURNING id")
                    )
                    relayed += len(gone.all())
            await asyncio.sleep(0.01)
    assert most == 4
    assert await task == 7
    assert relayed + await waiting() == 7


async def test_nothing_moves_without_a_relay(session_maker: SessionMaker, query: Query) -> None:
    task = asyncio.create_task(
        snapshots.publish(session_maker, [part("a", 7)], lambda _: None, batch_size=3, most_waiting=3)
    )

    async def waiting() -> int:
        return int((await query("SELECT count(*) FROM outbox"))[0][0])

    await eventually(waiting, lambda seen: seen == 3)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(("sizes", "place"), [((3, 2), None), ((0, 2), None), ((1, 2), "c:1"), ((1, 2), "nonsense")])
async def test_what_makes_no_sense_is_refused(
    session_maker: SessionMaker, sizes: tuple[int, int], place: str | None
) -> None:
    batch, most = sizes
    with pytest.raises(ValueError, match=r"batch|no place"):
        await snapshots.publish(
            session_maker, [part("a", 1)], lambda _: None, after=place, batch_size=batch, most_waiting=most
        )


def test_the_command_refuses_before_it_connects(capsys: pytest.CaptureFixture[str]) -> None:
    parts = [part("a", 1), part("old", 1, optional=True)]
    for arguments in (["--after", "old:3"], ["--part", "b"], ["--most-waiting", "0"]):
        with pytest.raises(SystemExit) as end:
            snapshots.main("signals", ServiceSettings, parts, arguments)
        assert end.value.code == 2
    assert "--after" in capsys.readouterr().err
