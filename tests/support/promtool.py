"""Prometheus and its own tool: the machine's, or those of Debian's package, unpacked below `build`."""

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from deploy.local.processes import PROJECT_ROOT

PACKAGE: Final = "prometheus"
_UNPACKED: Final = PROJECT_ROOT / "build" / "prometheus"
_SECONDS: Final = 60


class NotToBeHadError(Exception):
    """Neither is it there, nor can it be had here; the message says why."""


@cache
def find(program: str) -> Path:
    """The path of `promtool` or `prometheus`.

    Raises:
        NotToBeHadError: with the reason.
    """
    if there := shutil.which(program):
        return Path(there)
    unpacked = _UNPACKED / "usr" / "bin" / program
    if not unpacked.exists():
        _unpack(_UNPACKED)
    return unpacked


def program(name: str) -> str:
    """One of them for a test; skips it, with the reason, where it cannot be had."""
    try:
        return str(find(name))
    except NotToBeHadError as error:
        pytest.skip(str(error))


def _unpack(place: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotToBeHadError("there is no Prometheus on this machine, and no apt to get it with")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        work = Path(folder)
        try:
            _run(work, "apt-get", *_apart(work), "update")
            _run(work, "apt-get", *_apart(work), "download", PACKAGE)
            [package] = work.glob(f"{PACKAGE}_*.deb")
            _run(work, "dpkg-deb", "--extract", str(package), str(work / "unpacked"))
        except subprocess.CalledProcessError as error:
            lines = (error.stdout + error.stderr).strip().splitlines()
            raise NotToBeHadError(f"Debian's package of Prometheus cannot be had: {lines[-1:]}") from error
        except subprocess.TimeoutExpired as error:
            raise NotToBeHadError(f"Debian's package of Prometheus was not had within {_SECONDS} s") from error
        try:
            (work / "unpacked").rename(place)
        except OSError:
            # Another worker of this run was faster.
            if not place.exists():
                raise


def _apart(work: Path) -> list[str]:
    """Lists and packages in a folder of its own: nothing of the machine's is changed, and anybody may do it."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True, exist_ok=True)
    return [
        *("-o", f"Dir::State={work / 'state'}", "-o", f"Dir::Cache={work / 'cache'}"),
        *("-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=true"),
    ]


def _run(work: Path, *command: str) -> None:
    subprocess.run(
        command,
        cwd=work,
        env={**os.environ, "LC_ALL": "C"},
        check=True,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
