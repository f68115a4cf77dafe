"""Command: make the feed again from the audit log, while the service runs.

    python -m services.activity.rebuild

Reads the configuration of the service. What is missing in the feed is put back where it was, what differs from the log
is mended, what the log does not have goes; groups and what is known of assignments follow. Positions, and with them
streams and what users have read, stay as they are: what is read is noted by position. Where somebody had put an event
into the feed that the log does not have, whatever takes its position next is read by those who had read that. Events of
a type that was unknown when they came are shown at the feed's end, as if they came now. Ends with what it has changed;
a second run changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from services.activity import repository_assignments, repository_groups
from services.activity import repository_audit as audit
from services.activity import repository_rebuild as repository
from services.activity.repository_rebuild import Hole
from services.activity.settings import ActivitySettings
from shared import commands
from shared.db import SessionMaker
from shared.settings import load

_PIECE: Final = 2000
_SLICES: Final = 256
_SLICE: Final = 2**128 // _SLICES


@dataclass(slots=True)
class Changes:
    """What a rebuild has changed."""

    dropped: int = 0
    mended: int = 0
    put_back: int = 0
    added: int = 0
    groups: int = 0

    def __str__(self) -> str:
        return (
            f"{self.put_back} events put back, {self.mended} mended, {self.dropped} dropped that the audit log does "
            f"not have, {self.added} shown for the first time, {self.groups} groups corrected"
        )


async def rebuild(session_maker: SessionMaker) -> Changes:
    """Make the feed what the audit log says. Each step holds up writers for a moment only."""
    changes = Changes()
    async with session_maker() as session, session.begin():
        head = await audit.lock_head(session)
    for after in range(0, head.feed_position, _PIECE):
        async with session_maker() as session, session.begin():
            await audit.lock_head(session)
            changes.dropped += await repository.drop_invented(session, after, after + _PIECE)
    async with session_maker() as session, session.begin():
        free = _positions(await repository.holes(session))
    for after in range(0, head.audit_position, _PIECE):
        await _restore(session_maker, after, min(after + _PIECE, head.audit_position), free, changes)
    for number in range(_SLICES):
        first, last = UUID(int=number * _SLICE), UUID(int=(number + 1) * _SLICE - 1)
        async with session_maker() as session, session.begin():
            await audit.lock_head(session)
            changes.groups += await repository_groups.recount(session, first, last)
    return changes


def _positions(holes: list[Hole]) -> Iterator[int]:
    for hole in holes:
        yield from range(hole.first, hole.last + 1)


async def _restore(session_maker: SessionMaker, after: int, up_to: int, free: Iterator[int], changes: Changes) -> None:
    """One range of the log. What is missing there takes the next free positions: both are in the same order."""
    async with session_maker() as session, session.begin():
        head = await audit.lock_head(session)
        changes.mended += await repository.mend(session, after, up_to)
        missing = await repository.missing(session, after, up_to)
        places = [position for _, position in zip(missing, free, strict=False)]
        new = range(head.feed_position + 1, head.feed_position + 1 + len(missing) - len(places))
        if missing:
            await repository.put_back(session, missing, [*places, *new])
        if new:
            await repository.extend(session, new[-1])
        await repository_assignments.learn(session, after, up_to)
    changes.put_back += len(places)
    changes.added += len(new)


def main() -> int:
    """Rebuild the configured database's feed."""
    settings = load(ActivitySettings)

    async def work() -> int:
        async with commands.database(settings, "activity") as maker:
            commands.tell(str(await rebuild(maker)))
        return 0

    return commands.run(work())


if __name__ == "__main__":
    raise SystemExit(main())
