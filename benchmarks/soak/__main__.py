"""A soak, from the command line: `make soak`. Ends with 1 where something was lost, broke, or grows."""

import argparse
import sys

import uvloop

from benchmarks.soak.run import Soak, report, run, store


def main() -> int:
    """The command line."""
    default = Soak()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=default.minutes, help="of load; slopes are judged from 20 on")
    parser.add_argument("--rate", type=float, default=default.rate, help="requests of leaders a second")
    parser.add_argument("--publish", type=float, default=default.publish, help="signals a second")
    parser.add_argument("--signals", type=int, default=default.signals, help="in the database when it begins")
    parser.add_argument("--every", type=float, default=default.every, help="seconds between samples")
    outcome = uvloop.run(run(Soak(**vars(parser.parse_args()))))
    print(report(outcome))
    print(f"stored in benchmarks/results/{store(outcome)}")
    return 1 if outcome.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
