"""Command: verify that no row of the audit log was changed, removed or put in, while the service runs.

    python -m services.activity.verify

Reads the configuration of the service. Prints what is wrong, row by row, and ends with status 1, or says how many rows
are as they were written. Whoever may rewrite the whole log and its head leaves a chain that is sound in itself: the
hash that is printed, kept elsewhere, tells even that.
"""

from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncSession

from services.activity import repository_verification as repository
from services.activity.settings import ActivitySettings
from shared import commands
from shared.settings import load

FIRST_HASH = bytes(32)
"""What stands for the hash of the row before the first."""


async def problems(session: AsyncSession, end: int, last_hash: bytes) -> AsyncIterator[str]:
    """One sentence for each place up to the given end where the log is not as it was written."""
    position, before = 0, FIRST_HASH
    async for link in repository.links(session, end):
        if link.position != position + 1:
            yield f"rows {position + 1} to {link.position - 1} are missing"
        elif link.previous_hash != before:
            yield f"row {link.position} does not continue from row {position}: one of them was replaced"
        if link.computed != link.hash:
            yield f"row {link.position} was changed: its content does not give its hash"
        position, before = link.position, link.hash
    if position != end:
        yield f"rows {position + 1} to {end} are missing at the end"
    elif before != last_hash:
        yield f"row {position} is not the one that was written last"


async def verify(session: AsyncSession) -> int:
    """Print what is wrong, or the end of a sound log; answers the exit status."""
    position, last_hash = await repository.end(session)
    found = 0
    async for problem in problems(session, position, last_hash):
        found += 1
        commands.say(problem)
    if found:
        return 1
    commands.tell(f"{position} rows are as they were written; the last hash is {last_hash.hex()}")
    return 0


def main() -> int:
    """Verify the configured database."""
    settings = load(ActivitySettings)

    async def work() -> int:
        async with commands.database(settings, "activity") as maker, maker() as session:
            return await verify(session)

    return commands.run(work())


if __name__ == "__main__":
    raise SystemExit(main())
