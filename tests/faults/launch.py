"""`python -m tests.faults.launch MUTATION SERVICE`: run a service with the product broken on purpose."""

import runpy
import sys

from tests.faults.mutations import Mutation, apply


def main() -> None:
    """Break it, then run it as it is run everywhere."""
    mutation, service = sys.argv[1:]
    apply(Mutation(mutation))
    sys.argv = [f"services.{service}.main"]
    runpy.run_module(f"services.{service}.main", run_name="__main__")


if __name__ == "__main__":
    main()
