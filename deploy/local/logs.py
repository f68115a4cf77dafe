"""One log file per process, bounded: a long one is moved aside at start and while the process runs."""

import shutil
from pathlib import Path
from typing import IO

LIMIT_BYTES = 20 * 1024 * 1024


def open_log(path: Path) -> IO[bytes]:
    """Open a process's log for appending, moving a long one to `<name>.log.1` first.

    Appending matters twice: what a crashed run wrote is still there to read, and `bound` may truncate under the writer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LIMIT_BYTES:
        path.replace(_previous(path))
    return path.open("ab")


def bound(path: Path) -> None:
    """Copy a log that has grown too long to `<name>.log.1` and empty it; its writer goes on at the beginning.

    Where there is no room for the copy, the log is lost rather than the disk kept full.
    """
    if path.exists() and path.stat().st_size > LIMIT_BYTES:
        try:
            shutil.copyfile(path, _previous(path))
        except OSError:
            # A full disk: emptying the log makes room, half a copy of it takes some.
            _previous(path).unlink(missing_ok=True)
        with path.open("r+b") as log:
            log.truncate(0)


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".1")
