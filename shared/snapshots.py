"""Snapshots: the present state of all subjects, published on demand for a consumer that comes after the retention.

A snapshot is no event of its own: it has no feed type and carries the sequence of the subject's last event, so that
it tells nothing new to whoever has heard that event. A service's command is its parts and one call:

    ASSIGNMENTS = Part("assignments", read_assignments, count_assignments)

    if __name__ == "__main__":
        raise SystemExit(main("workflow", WorkflowSettings, [ASSIGNMENTS]))

where ``read_assignments(session, after, rows)`` reads the next rows by key and makes an event of each.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared import commands, outbox
from shared.db import SessionMaker
from shared.outbox import Event
from shared.settings import ServiceSettings, load

BATCH_SIZE: Final = 500
_LOOK_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 10.0

_WAITING = text("SELECT count(*) FROM (SELECT FROM outbox LIMIT :most) AS waiting")


@dataclass(frozen=True, slots=True)
class Page:
    """The snapshots of some subjects, and the key of the last one; without a key nothing follows."""

    events: Sequence[Event]
    after: str | None


ReadPage = Callable[[AsyncSession, str | None, int], Awaitable[Page]]
"""Reads the snapshots of up to so many subjects after a key, in the order of the keys; from the first without one."""

Count = Callable[[AsyncSession], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of subject. An ``optional`` one is published only where the command names it."""

    name: str
    read: ReadPage
    count: Count
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a part has come. ``place`` goes on from there when the command is begun again."""

    part: str
    published: int
    total: int
    place: str


async def publish(
    maker: SessionMaker,
    parts: Sequence[Part],
    report: Callable[[Progress], None],
    *,
    after: str | None = None,
    batch_size: int = BATCH_SIZE,
    most_waiting: int = 5000,
) -> int:
    """Publish the parts one after the other, a transaction for each batch; answers how many snapshots it were.

    Before a batch it waits until the outbox has room for it, so that never more than ``most_waiting`` messages wait
    for the relay on its account. ``after`` is the place that a progress named: what lies before it is left out. A
    batch that is published twice does no harm.

    Raises:
        ValueError: for a place of no part, or a batch that never fits.
    """
    if not 0 < batch_size <= most_waiting:
        raise ValueError("a batch has at least one subject and at most as many as may wait")
    published = 0
    for part, key in _from(parts, after):
        published += await _publish_part(maker, part, key, report, batch_size, most_waiting)
    return published


def _from(parts: Sequence[Part], place: str | None) -> list[tuple[Part, str | None]]:
    """The parts that are left from a place on, with the key after which each begins."""
    if place is None:
        return [(part, None) for part in parts]
    name, _, key = place.partition(":")
    names = [part.name for part in parts]
    if name not in names:
        raise ValueError(f"{place!r} is no place in {', '.join(names)}")
    first = names.index(name)
    return [(parts[first], key or None), *((part, None) for part in parts[first + 1 :])]


async def _publish_part(
    maker: SessionMaker,
    part: Part,
    key: str | None,
    report: Callable[[Progress], None],
    batch_size: int,
    most_waiting: int,
) -> int:
    async def count() -> int:
        async with maker() as session:
            return await part.count(session)

    async def batch() -> Page:
        async with maker() as session, session.begin():
            page = await part.read(session, key, batch_size)
            await outbox.publish(session, *page.events)
            return page

    total, published = await commands.persist(count), 0
    while True:
        await _room(maker, most_waiting - batch_size)
        page = await commands.persist(batch)
        published += len(page.events)
        key = page.after
        if key is None:
            report(Progress(part.name, published, total, ""))
            return published
        report(Progress(part.name, published, total, f"{part.name}:{key}"))


async def _room(maker: SessionMaker, most: int) -> None:
    """Wait until no more than so many messages wait for the relay, and say so where that takes long."""

    async def look() -> int:
        async with maker() as session:
            return int((await session.execute(_WAITING, {"most": most + 1})).scalar_one())

    told = monotonic()
    while await commands.persist(look) > most:
        if monotonic() - told > _PATIENCE_SECONDS:
            commands.say(f"more than {most:,} messages wait in the outbox: does the service run, and Kafka?")
            told = monotonic()
        await asyncio.sleep(_LOOK_SECONDS)


def main(
    service: str, settings_class: type[ServiceSettings], parts: Sequence[Part], arguments: Sequence[str] | None = None
) -> int:
    """The command of a service; answers the exit status."""
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{service}.snapshot",
        description="Publish the present state of all subjects, for a consumer that comes after the retention.",
        epilog="The service has to run: it relays what this command puts into the outbox.",
    )
    optional = [part.name for part in parts if part.optional]
    parser.add_argument(
        "--part",
        action="append",
        choices=[part.name for part in parts],
        help="only this part; may be given several times"
        + (f" (not published unless named: {', '.join(optional)})" if optional else ""),
    )
    parser.add_argument("--after", metavar="PLACE", help="go on from a place that an earlier run printed")
    parser.add_argument(
        "--most-waiting", type=int, default=5000, help="messages that may wait in the outbox (%(default)s)"
    )
    chosen = parser.parse_args(arguments)
    wanted = [part for part in parts if (part.name in chosen.part if chosen.part else not part.optional)]
    if chosen.most_waiting < 1:
        parser.error("--most-waiting: at least 1")
    try:
        _from(wanted, chosen.after)
    except ValueError as error:
        parser.error(str(error))
    settings = load(settings_class)

    async def work() -> int:
        async with commands.database(settings, service) as maker:
            published = await publish(
                maker,
                wanted,
                _tell,
                after=chosen.after,
                batch_size=min(BATCH_SIZE, chosen.most_waiting),
                most_waiting=chosen.most_waiting,
            )
        commands.tell(f"{published:,} snapshots published")
        return 0

    return commands.run(work())


def _tell(progress: Progress) -> None:
    place = f"; --after {progress.place} goes on from here" if progress.place else ""
    commands.tell(f"{progress.part}: {progress.published:,} of {progress.total:,}{place}")
