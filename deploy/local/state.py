"""The state directory: one stack at a time uses it, and `make clean-data` removes it."""

import fcntl
import os
import shutil
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.postgres_place import remove_place
from deploy.local.processes import clear_left_overs

_LOCK_FILE = "lock"


class StateLock:
    """Held while a stack runs. The system lets go of it when the holder ends, however it ends."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / _LOCK_FILE
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; StackError, naming the holder, when another stack has it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            os.close(descriptor)
            raise StackError(
                f"a stack runs already with the data in {self._path.parent} (process {holder or 'unknown'}): stop it, "
                "or start a second one with other ports and another COMPASS_LOCAL_DIR"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; does nothing when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def remove_state(state_dir: Path) -> None:
    """Remove all data and logs of a stack that does not run, with what lies elsewhere for it."""
    lock = StateLock(state_dir)
    lock.acquire()
    try:
        clear_left_overs(state_dir)
        remove_place(state_dir)
        shutil.rmtree(state_dir)
    finally:
        lock.release()
