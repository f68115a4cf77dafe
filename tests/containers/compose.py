"""deploy/compose.yaml under a project name of its own, with secrets and a port of its own."""

import asyncio
import json
import secrets
import subprocess
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from deploy.local.ports import HOST, free_port
from deploy.local.processes import PROJECT_ROOT
from tests.containers.docker import CommandError, docker, ran
from tests.support.stack import UNLIMITED

FILE = PROJECT_ROOT / "deploy" / "compose.yaml"
SERVICES = ("signals", "workflow", "activity", "auth")
RUNNING = (*SERVICES, "gateway", "postgres", "kafka")
"""All that goes on running; the rest are jobs."""

_START_SECONDS = 420.0


class Compose:
    """A project as its operator sees it, and a place for stories."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._project = f"compass-test-{secrets.token_hex(4)}"
        self._port = free_port()
        self._environment_file = folder / ".env"
        self._environment = {
            **UNLIMITED,
            "COMPASS_GATEWAY_PORT": str(self._port),
            "COMPASS_GATEWAY_DRAIN_SECONDS": "20",
        }
        script = PROJECT_ROOT / "deploy" / "make-env.sh"
        subprocess.run([str(script), "--demo", str(self._environment_file)], check=True, capture_output=True)

    @property
    def gateway_url(self) -> str:
        """The one published port."""
        return f"http://{HOST}:{self._port}"

    def up(self, *services: str) -> None:
        """Start what is not running, and wait until all of it is healthy; CommandError with the logs otherwise."""
        try:
            self("up", "--detach", "--wait", *services, seconds=_START_SECONDS)
        except CommandError as error:
            raise CommandError(f"{error}\n{self('logs', '--tail', '20')}") from error

    def down(self, *, volumes: bool) -> None:
        """Remove the containers, those of all profiles, and the data only where it is asked for."""
        self("--profile", "*", "down", *(["--volumes"] if volumes else []))

    def __call__(self, *arguments: str, seconds: float = 300.0) -> str:
        """`docker compose ARGUMENTS`."""
        return docker(*self._command(arguments), environment=self._environment, seconds=seconds)

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container."""
        identity = self("ps", "--all", "--quiet", service).strip()
        (found,) = json.loads(docker("inspect", identity))
        return dict(found)

    def services(self) -> list[str]:
        """Every service that has a container."""
        return sorted(json.loads(line)["Service"] for line in self("ps", "--all", "--format", "json").splitlines())

    def kill(self, service: str) -> None:
        """SIGKILL for all that runs in the container, from within: `docker kill` would count as stopped by hand."""
        ran(*self._command(["exec", "-T", service, "sh", "-c", "kill -9 -1"]), environment=self._environment)

    async def send(self, signals: Iterable[dict[str, Any]]) -> None:
        """Publish with the demo engine, within the network: Kafka is not published."""
        file = self._folder / f"{secrets.token_hex(4)}.jsonl"
        file.write_text("".join(f"{json.dumps(signal)}\n" for signal in signals))
        # Readable by whoever the container runs as.
        file.chmod(0o644)
        self._folder.chmod(0o755)
        mounted = f"{file}:/signals.jsonl:ro"
        await asyncio.to_thread(
            self, "run", "--rm", "-T", "--no-deps", "--volume", mounted, "demo", "--data", "/signals.jsonl"
        )

    def answers(self) -> bool:
        """Whether the gateway takes a request at its published port."""
        try:
            return httpx.get(f"{self.gateway_url}/api/no-such-thing", timeout=5).status_code == HTTPStatus.NOT_FOUND
        except httpx.TransportError:
            return False

    def _command(self, arguments: Iterable[str]) -> list[str]:
        return [
            *("compose", "--project-name", self._project, "--file", str(FILE)),
            *("--env-file", str(self._environment_file)),
            *arguments,
        ]
