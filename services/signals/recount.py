"""Count the current signals anew, beside the traffic, and say whether the counts were right.

    python -m services.signals.recount

The triggers keep the counts exact; this proves it, and repairs them after triggers were disabled, for a restore or a
repair by hand. Ends with 0 where they were right, with 1 where they had to be corrected.
"""

from typing import Final

from services.signals import repository_options
from services.signals.repository_options import Recount
from services.signals.settings import SignalsSettings
from shared.commands import database, persist, run, tell
from shared.db import SessionMaker
from shared.settings import load

_SHOWN: Final = 20


async def recount(maker: SessionMaker) -> int:
    """Correct what differs and tell of it; the command's exit status."""

    async def count() -> list[Recount]:
        async with maker() as session, session.begin():
            return await repository_options.recount(session)

    counted = await persist(count)
    signals = sum(each.found for each in counted if each.facet == "signal")
    wrong = [each for each in counted if each.found != each.counted]
    for each in wrong[:_SHOWN]:
        value = " ".join(repr(part) for part in (each.facet, each.detail, each.value) if part is not None)
        tell(f"{value} in {each.domain}, {each.system_name or 'no system'}: {each.counted} instead of {each.found}")
    if wrong:
        tell(f"{signals} current signals; {len(wrong)} counts were wrong and are corrected within seconds")
        return 1
    tell(f"{signals} current signals; every count was right")
    return 0


async def main() -> int:
    """The command."""
    async with database(load(SignalsSettings), "signals") as maker:
        return await recount(maker)


if __name__ == "__main__":
    raise SystemExit(run(main()))
