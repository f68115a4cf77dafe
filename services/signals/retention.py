"""Command: move old history into the archive, and delete what has had its time.

    python -m services.signals.retention --older-than 730d

Runs beside the service: small transactions that lock only the rows they move, and leave out rows that somebody else
has locked. Interrupted, it is simply run again.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import TextClause

from services.signals import repository_archive, repository_retention
from services.signals.repository_retention import REPLAYED_DEAD_LETTERS, WAITING_INSIGHTS, WAITING_STATES
from services.signals.settings import SignalsSettings
from shared import commands
from shared.db import SessionMaker
from shared.settings import load

BATCH_SIZE: Final = 500
_DURATION: Final = re.compile(r"(\d{1,6})([dhw])", re.ASCII)
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@dataclass(frozen=True, slots=True)
class Limits:
    """What lies before these moments goes."""

    history: datetime
    waiting_insights: datetime
    waiting_states: datetime
    replayed_dead_letters: datetime


@dataclass(slots=True)
class Kept:
    """How many rows were moved or deleted."""

    history: int = 0
    waiting_insights: int = 0
    waiting_states: int = 0
    replayed_dead_letters: int = 0


async def keep(maker: SessionMaker, limits: Limits, report: Callable[[str], None], rows: int = BATCH_SIZE) -> Kept:
    """Move and delete until nothing is left before the limits, a transaction for each batch."""
    kept = Kept()
    kept.history = await _archive(maker, limits.history, report, rows)
    delete = partial(_delete, maker, report, rows)
    kept.waiting_insights = await delete("insights without a signal", WAITING_INSIGHTS, limits.waiting_insights)
    kept.waiting_states = await delete("workflow states without a signal", WAITING_STATES, limits.waiting_states)
    kept.replayed_dead_letters = await delete(
        "replayed dead letters", REPLAYED_DEAD_LETTERS, limits.replayed_dead_letters
    )
    return kept


async def _archive(maker: SessionMaker, before: datetime, report: Callable[[str], None], rows: int) -> int:
    place, moved = repository_archive.START, 0

    async def step() -> list[repository_archive.Place]:
        async with maker() as session, session.begin():
            return await repository_archive.move(session, before, place, rows)

    while found := await commands.persist(step):
        moved += len(found)
        place = found[-1]
        report(f"history: {moved:,} moved, up to entity {place.entity_id}")
    return moved


async def _delete(
    maker: SessionMaker, report: Callable[[str], None], rows: int, what: str, which: TextClause, before: datetime
) -> int:
    deleted = 0

    async def step() -> int:
        async with maker() as session, session.begin():
            return await repository_retention.delete(session, which, before, rows)

    while found := await commands.persist(step):
        deleted += found
        report(f"{what}: {deleted:,} deleted")
    return deleted


def _duration(given: str) -> timedelta:
    match = _DURATION.fullmatch(given)
    if match is None:
        raise argparse.ArgumentTypeError("a number of hours, days or weeks: 48h, 730d, 104w")
    return int(match[1]) * _UNITS[match[2]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Answers the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m services.signals.retention", description="Move old history out of the way of ingest and lists."
    )
    parser.add_argument(
        "--older-than",
        type=_duration,
        required=True,
        metavar="AGE",
        help="detections of that age (730d, 104w) that a newer one has replaced go into the archive",
    )
    parser.add_argument(
        "--waiting-insights",
        type=_duration,
        default=timedelta(days=30),
        metavar="AGE",
        help="insights that have waited so long for a signal are deleted (30d)",
    )
    parser.add_argument(
        "--waiting-states",
        type=_duration,
        default=timedelta(days=90),
        metavar="AGE",
        help="workflow states that have waited so long for their signal are deleted (90d); should it come all the "
        "same, a snapshot of the workflow service tells its state again",
    )
    parser.add_argument(
        "--replayed-dead-letters",
        type=_duration,
        default=timedelta(days=30),
        metavar="AGE",
        help="dead letters that were replayed so long ago are deleted (30d)",
    )
    chosen = parser.parse_args(arguments)
    settings = load(SignalsSettings)
    now = datetime.now(UTC)
    try:
        limits = Limits(
            now - chosen.older_than,
            now - chosen.waiting_insights,
            now - chosen.waiting_states,
            now - chosen.replayed_dead_letters,
        )
    except OverflowError:
        parser.error("an age reaches back before the year 1")

    async def work() -> int:
        async with commands.database(settings, "signals") as maker:
            kept = await keep(maker, limits, commands.tell)
        commands.tell(
            f"{kept.history:,} detections archived; deleted: {kept.waiting_insights:,} insights without a signal, "
            f"{kept.waiting_states:,} workflow states without a signal, "
            f"{kept.replayed_dead_letters:,} replayed dead letters"
        )
        return 0

    return commands.run(work())


if __name__ == "__main__":
    raise SystemExit(main())
