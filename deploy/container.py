"""What a container of the image does: `python -m deploy.container COMMAND`, the entry point of `deploy/Dockerfile`.

The command chooses a service, a migration, a job or one of the operators' commands. It runs in this process, which is
the container's first: so the signal to stop reaches what runs, and its exit status is the container's.
"""

import http.client
import importlib.util
import os
import runpy
import signal
import sys
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final

# Only the standard library: this module is also the health check, every few seconds.

USAGE: Final = """\
signals | workflow | activity | auth     run this service
SERVICE COMMAND [options]                one of its commands for operators, as docs/commands.md has them
migrate SERVICE [alembic's command]      bring its schema to the newest version (upgrade head)
topics                                   make Kafka's topics what they should be
demo [options]                           publish signals of the demo engine
gateway [options]                        print the gateway's configuration
healthy | ready                          whether the service of this container answers, or can do its work"""

PORTS: Final = {"signals": 8101, "workflow": 8102, "activity": 8103, "auth": 8104}
"""Where each service listens unless COMPASS_<SERVICE>_PORT says otherwise."""

_USAGE_ERROR: Final = 2
_UNHEALTHY: Final = 1
_ANSWER_SECONDS: Final = 5
_FIRST_PROCESS: Final = Path("/proc/1/cmdline")


def main(arguments: Sequence[str]) -> None:
    """Do what the arguments say; SystemExit with status 2 and the usage where they say nothing that is known."""
    match list(arguments):
        case ["healthy"]:
            raise SystemExit(probe("/healthz"))
        case ["ready"]:
            raise SystemExit(probe("/readyz"))
        case [service] if service in PORTS:
            _run(f"services.{service}.main", [])
        case ["migrate", service, *command] if service in PORTS:
            _run("alembic", ["-n", service, *(command or ["upgrade", "head"])])
        case ["topics"]:
            _run("deploy.topics", [])
        case ["demo", *options]:
            _run("deploy.demo", options)
        case ["gateway", *options]:
            _run("deploy.gateway", ["render", "--target", "containers", *options])
        case [service, command, *options] if service in PORTS and is_command(service, command):
            _run(f"services.{service}.{command}", options)
        case _:
            print(USAGE, file=sys.stderr)
            raise SystemExit(_USAGE_ERROR)


def is_command(service: str, name: str) -> bool:
    """Whether a module of the service can be run by itself."""
    if not name.isidentifier():
        return False
    found = importlib.util.find_spec(f"services.{service}.{name}")
    return found is not None and found.origin is not None and '__name__ == "__main__"' in Path(found.origin).read_text()


def probe(path: str) -> int:
    """Ask the service of this container; 0 where it answers 200, or where the container runs none, as a job does."""
    service = service_of(_FIRST_PROCESS.read_bytes().decode().split("\0"))
    if service is None:
        return 0
    port = int(os.environ.get(f"COMPASS_{service.upper()}_PORT", PORTS[service]))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        print(f"{service} does not answer at port {port}: {error}")
        return _UNHEALTHY
    finally:
        connection.close()
    print(said)
    return 0 if answer.status == HTTPStatus.OK else _UNHEALTHY


def service_of(command_line: Sequence[str]) -> str | None:
    """The service that a command line of the entry point runs, also behind an init process; None for anything else."""
    after = [part for part in command_line if part][-2:]
    return after[1] if len(after) == 2 and after[0].endswith(__spec__.name) and after[1] in PORTS else None


def _run(module: str, arguments: Sequence[str]) -> None:
    """Become the module. A signal to stop ends it as Ctrl-C does, unless it has a way of its own, as services have.

    The first process of a container is not ended by signals that it has no handler for.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.argv[1:] = arguments
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGTERM) from None


if __name__ == "__main__":
    main(sys.argv[1:])
