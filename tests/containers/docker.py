"""Docker as an operator uses it: through its command line."""

import os
import subprocess
from collections.abc import Mapping

IMAGE = os.environ.get("COMPASS_IMAGE", "quality-compass")
"""The image under test, built by `make image`."""

_SECONDS = 300.0


class CommandError(AssertionError):
    """A command ended with another status than 0; the text has what it said."""


def ran(
    *arguments: str, environment: Mapping[str, str] | None = None, seconds: float = _SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run `docker ARGUMENTS` to its end, whatever that is."""
    return subprocess.run(
        ["docker", *arguments],
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def docker(*arguments: str, environment: Mapping[str, str] | None = None, seconds: float = _SECONDS) -> str:
    """What `docker ARGUMENTS` prints; CommandError where its status is not 0."""
    done = ran(*arguments, environment=environment, seconds=seconds)
    if done.returncode != 0:
        raise CommandError(
            f"docker {' '.join(arguments)}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
    return done.stdout
