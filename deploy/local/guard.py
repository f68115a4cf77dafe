"""Ends the processes of a state directory when the process that started them is gone.

Started by `processes.ManagedProcess`; standard input is a pipe that reaches its end when the starter has ended,
however it ended. After a clean stop no records are left and there is nothing to do.
"""

import sys
from pathlib import Path

from deploy.local.processes import clear_left_overs


def main() -> None:
    """Wait for the end of standard input, then end what is left of the state directory given as the argument."""
    sys.stdin.buffer.read()
    clear_left_overs(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
