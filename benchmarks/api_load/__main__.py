"""The load of leaders by itself, in any size: `make load`."""

import argparse
import sys

import uvloop

from benchmarks.api_load.run import Size, complained, measure
from benchmarks.measure import show, store


def main() -> int:
    """The command line."""
    default = Size()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signals", type=int, default=default.signals, help="in the database when it begins")
    parser.add_argument("--users", type=int, default=default.users, help="leaders while the month is published")
    parser.add_argument("--month", type=int, default=default.month, help="signals of that month")
    parser.add_argument("--month-seconds", type=float, default=default.month_seconds, help="that it takes")
    parser.add_argument(
        "--steps", type=lambda text: tuple(map(int, text.split(","))), default=default.steps, help="50,100,200,400,800"
    )
    parser.add_argument("--step-seconds", type=float, default=default.step_seconds, help="of each other step")
    reports = uvloop.run(measure(Size(**vars(parser.parse_args()))))
    print(show(reports))
    print(f"stored in benchmarks/results/{store(reports).name}")
    return 1 if complained(reports) else 0


if __name__ == "__main__":
    sys.exit(main())
