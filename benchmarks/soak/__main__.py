"""A soak, from the command line: `make soak`. Ends with 1 where something was lost, broke, or grows."""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from benchmarks.measure import RESULTS
from benchmarks.soak.run import Outcome, Soak, judge, report, run, store


def main() -> int:
    """The command line."""
    default = Soak()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=default.minutes, help="of load; slopes are judged from 20 on")
    parser.add_argument("--rate", type=float, default=default.rate, help="requests of leaders a second")
    parser.add_argument("--publish", type=float, default=default.publish, help="signals a second")
    parser.add_argument("--signals", type=int, default=default.signals, help="in the database when it begins")
    parser.add_argument("--every", type=float, default=default.every, help="seconds between samples")
    outcome = Outcome(Soak(**vars(parser.parse_args())))
    file = RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}-soak.json"
    storing(outcome, file, lambda: uvloop.run(run(outcome)))
    storing(outcome, file, lambda: judge(outcome))
    print(report(outcome))
    print(f"stored in benchmarks/results/{file.name}")
    return 1 if outcome.complaints else 0


def storing(outcome: Outcome, file: Path, work: Callable[[], None]) -> None:
    """Do a part of the work and store what there is then, also where it broke: an hour is not to be lost with it."""
    try:
        work()
    except BaseException as error:
        outcome.complaints.append(f"it broke off: {error!r}")
        print(f"broken off after {len(outcome.samples)} samples, which are stored in benchmarks/results/{file.name}")
        raise
    finally:
        if outcome.samples:
            store(outcome, file)


if __name__ == "__main__":
    sys.exit(main())
