"""One of the four services as a process of its own, and the environment that it is configured by."""

import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from http import HTTPStatus

import httpx

from deploy.local import ports
from deploy.local.errors import StackError
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.processes import Command, ManagedProcess, poll_until
from deploy.local.secrets import SERVICES, LocalSecrets
from deploy.local.settings import LocalSettings
from shared.settings import PREFIX

_STOP_SECONDS = 25.0

CommandOf = Callable[[str], Sequence[str]]
"""The command line that runs the service of a given name."""


def module_command(service: str) -> list[str]:
    """How a service is run everywhere: as a module of this Python."""
    return [sys.executable, "-m", f"services.{service}.main"]


def service_environment(
    service: str, settings: LocalSettings, postgres: EmbeddedPostgres, kafka_servers: str, secrets: LocalSecrets
) -> dict[str, str]:
    """All that a service is configured by. What the caller has set beside it (log level, pool size) is handed on."""
    own = {
        "ENVIRONMENT": "local",
        "DATABASE_URL": postgres.service_url(service),
        "KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        "TOPIC_REPLICATION_FACTOR": "1",
        "BIND_HOST": ports.HOST,
        **{f"{name.upper()}_PORT": str(settings.service_port(name)) for name in SERVICES},
        **({"KEY_ENCRYPTION_KEY": secrets.key_encryption_key} if service == "auth" else {}),
    }
    # Logs reach their file at once, also those of a process that is killed.
    return {**os.environ, "PYTHONUNBUFFERED": "1", **{PREFIX + name: value for name, value in own.items()}}


class ServiceProcess:
    """A service that can be started, stopped, killed and paused by itself while the others run."""

    def __init__(
        self, name: str, settings: LocalSettings, environment: Mapping[str, str], command_of: CommandOf
    ) -> None:
        self.name = name
        self.port = settings.service_port(name)
        self.process = ManagedProcess(
            name,
            Command(command_of(name), environment=environment, stop_seconds=_STOP_SECONDS),
            settings.local_dir,
        )

    @property
    def url(self) -> str:
        """Where it listens, without the gateway."""
        return f"http://{ports.HOST}:{self.port}"

    def start(self) -> None:
        """Start the process; `wait_until_ready` tells when it serves."""
        self.process.start()

    def stop(self) -> None:
        """SIGTERM: it finishes what it has in hand."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    @property
    def is_ready(self) -> bool:
        """Whether it says of itself that database, broker, consumers and schema are as it needs them."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == HTTPStatus.OK
        except httpx.TransportError:
            return False

    def wait_until_ready(self, seconds: float) -> None:
        """As the function, for this one alone."""
        wait_until_ready([self], seconds)


def wait_until_ready(services: Collection[ServiceProcess], seconds: float) -> None:
    """Return once all are ready.

    Raises:
        StackError: with the end of its log, for one that has ended, or that is not ready in time. Services wait for
            one another's messages, so that one that ended keeps others from being ready: it is the one that is named.
    """

    def ended() -> list[ServiceProcess]:
        return [service for service in services if not service.process.is_running]

    if poll_until(lambda: bool(ended()) or all(service.is_ready for service in services), seconds, interval=0.1):
        late = ended()
        problem = "ended at once ({status})"
    else:
        late = [service for service in services if not service.is_ready]
        problem = f"is not ready after {seconds:.0f} s"
    for service in late:
        process = service.process
        what = problem.format(status=process.exit_status)
        raise StackError(f"the service {service.name} {what}. The end of {process.log_path}:\n{process.log_tail()}")
