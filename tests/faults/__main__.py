"""`python -m tests.faults`: run seeds one after the other; see `make help`."""

import argparse
import asyncio
import logging
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from deploy.local.errors import StackError
from tests.faults import results
from tests.faults.mutations import Mutation
from tests.faults.results import Result
from tests.faults.run import allow_everything, run
from tests.faults.schedule import schedule
from tests.faults.stack import prepare, remove_state


def main() -> int:
    """0 if all seeds are green; with a mutation, 0 if one went red."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Seeds of faults, one after the other.")
    parser.add_argument("--seeds", type=int, default=200, help="how many, from --from on (200)")
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--seed", type=int, help="this one only, also if its result is known")
    parser.add_argument("--again", action="store_true", help="run seeds that are known to be green as well")
    parser.add_argument("--minutes", type=float, help="begin no seed that would probably end later")
    parser.add_argument("--mutation", type=Mutation, choices=list(Mutation), help="break the product, until one is red")
    parser.add_argument("--list", action="store_true", help="show the results that are known, and run nothing")
    options = parser.parse_args()
    if options.list:
        known = [result for result in results.kept().values() if result.mutation is None]
        say(f"{results.table(results.kept().values())}\n\n{results.totals(known)}")
        return 0
    wanted = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    allow_everything()
    # A broker that is dead is no news here.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    found = []
    for result in outcomes(list(wanted), options.mutation, options.minutes, known=not (options.again or options.seed)):
        found.append(result)
        if options.mutation and not result.is_green:
            break
    red = [result.seed for result in found if not result.is_green]
    say(f"{len(found)} of {len(wanted)} seeds: {len(found) - len(red)} green, red: {red or 'none'}")
    if options.mutation:
        say(f"{options.mutation} was {'found' if red else 'NOT FOUND'}")
        return 0 if red else 1
    idle = results.idleness(found)
    for complaint in idle:
        say(complaint)
    return 1 if red or idle else 0


def outcomes(wanted: list[int], mutation: Mutation | None, minutes: float | None, *, known: bool) -> Iterator[Result]:
    """Each seed's result, from the file where it is there already; ends early where the time is over."""
    kept = {place: result for place, result in results.kept().items() if known and result.is_green}
    end = None if minutes is None else monotonic() + minutes * 60
    longest = 0.0
    prepared: Path | None = None
    try:
        for seed in wanted:
            result = kept.get((seed, mutation))
            if result is None:
                if end is not None and monotonic() + longest > end:
                    return
                if prepared is None:
                    prepared = make_ready()
                began = monotonic()
                say(f"seed {seed}: {'; '.join(map(str, schedule(seed)))}")
                result = asyncio.run(one(seed, prepared, mutation))
                longest = max(longest, monotonic() - began)
                results.keep(result)
                say(results.table([result]))
            yield result
    finally:
        if prepared is not None:
            remove_state(prepared)


async def one(seed: int, prepared: Path, mutation: Mutation | None) -> Result:
    """One seed; SIGTERM ends it as Ctrl-C does, so that nothing keeps running and no disk stays mounted."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(seed, prepared, mutation)


def make_ready() -> Path:
    """The state that every seed begins with."""
    folder = Path(tempfile.mkdtemp(prefix="compass-faults-prepared-"))
    # Under root the database server runs as another user, who has to get through to its data.
    folder.chmod(0o711)
    prepare(folder)
    return folder


def say(text: str) -> None:
    """One line or more, at once."""
    print(text, flush=True)  # noqa: T201 - what a command is for


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StackError as problem:
        say(f"{problem}")
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
