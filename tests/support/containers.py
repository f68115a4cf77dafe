"""PostgreSQL and Kafka in containers, in the place of the embedded ones: the same settings, ports, roles and life.

The servers are those of the public images (testcontainers), so the suite also shows what it shows of them. Everything
else of a stack, services and gateway, runs as processes as ever.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final

from testcontainers.core.container import DockerContainer

from deploy.local import ports
from deploy.local import postgres as embedded
from deploy.local.errors import StackError
from deploy.local.kafka import BROKER_SETTINGS, EmbeddedKafka
from deploy.local.postgres import INITDB_LOCALE, SERVER_SETTINGS, EmbeddedPostgres
from deploy.local.processes import poll_until

POSTGRES_IMAGE: Final = "postgres:18"
KAFKA_IMAGE: Final = "apache/kafka:4.3.1"

_POSTGRES_PORT: Final = 5432
_KAFKA_PORT: Final = 9092
_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 30


class _Life:
    """A container that can be stopped or killed and started again, with its port and its data, until it is removed."""

    def __init__(self, container: DockerContainer) -> None:
        self._container = container
        self._is_made = False

    def start(self) -> None:
        if not self._is_made:
            # Noted first: one that could not be started is there, too.
            self._is_made = True
            self._container.start()
        else:
            self._engine.start()

    def stop(self) -> None:
        if self._is_made:
            self._engine.stop(timeout=_STOP_SECONDS)

    def kill(self) -> None:
        if self.is_running:
            self._engine.kill()
            self._engine.wait(timeout=_STOP_SECONDS)

    def remove(self) -> None:
        if self._is_made and self._container.get_wrapped_container() is not None:
            self._container.stop()
        self._is_made = False

    @property
    def is_running(self) -> bool:
        if not self._is_made:
            return False
        self._engine.reload()
        return bool(self._engine.status == "running")

    def answers(self, *command: str) -> bool:
        """Whether a command in the container ends with 0."""
        return self.is_running and self._engine.exec_run(list(command)).exit_code == 0

    def tail(self) -> str:
        """The end of what it has said."""
        return str(self._engine.logs(tail=40).decode(errors="replace"))

    @property
    def _engine(self) -> Any:
        return self._container.get_wrapped_container()


def _published(image: str, inside: int, outside: int) -> DockerContainer:
    container = DockerContainer(image)
    # Not with_bind_ports, which knows all addresses only: nobody but this machine is to reach it.
    published: dict[str, Any] = container.ports
    published[f"{inside}/tcp"] = (ports.HOST, outside)
    return container


class _InContainer(ABC):
    """A server that lives as its container does; stands before the embedded one whose life it replaces."""

    title: str
    _life: _Life

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether it serves."""

    def start(self) -> None:
        if self._life.is_running:
            return
        self._life.start()
        poll_until(lambda: self._is_ready() or not self._life.is_running, _START_SECONDS, interval=0.2)
        if not self._is_ready():
            raise StackError(f"{self.title} did not start in its container:\n{self._life.tail()}")

    def stop(self) -> None:
        self._life.stop()

    def kill(self) -> None:
        self._life.kill()

    def remove(self) -> None:
        """The container and its data."""
        self._life.remove()


class ContainerPostgres(_InContainer, EmbeddedPostgres):
    """The public image's server, with the same roles; reached with the same URLs."""

    def __init__(self, state_dir: Path, port: int, *, durable: bool = True) -> None:
        super().__init__(state_dir, port, durable=durable)
        settings = {**SERVER_SETTINGS, **({} if durable else embedded.NOT_DURABLE)}
        self._life = _Life(
            _published(POSTGRES_IMAGE, _POSTGRES_PORT, port)
            .with_env("POSTGRES_PASSWORD", self._secrets.postgres)
            .with_env("POSTGRES_DB", embedded.DATABASE)
            .with_env("POSTGRES_INITDB_ARGS", " ".join(INITDB_LOCALE))
            .with_command(["postgres", *(f"-c{name}={value}" for name, value in settings.items())])
            .with_kwargs(shm_size="512m")
        )

    def start(self) -> None:
        if not self._life.is_running:
            super().start()
            self.create_database(embedded.DATABASE)

    def _is_ready(self) -> bool:
        return self._answers()


class ContainerKafka(_InContainer, EmbeddedKafka):
    """The public image's broker, advertised at the port that is published."""

    def __init__(self, state_dir: Path, port: int) -> None:
        super().__init__(state_dir, port)
        settings = {
            **BROKER_SETTINGS,
            "listeners": f"PLAINTEXT://:{_KAFKA_PORT},CONTROLLER://localhost:9093",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "controller.quorum.voters": "1@localhost:9093",
            "log.dirs": "/var/lib/kafka/data",
        }
        container = _published(KAFKA_IMAGE, _KAFKA_PORT, port)
        for name, value in settings.items():
            container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
        self._life = _Life(container.with_env("KAFKA_HEAP_OPTS", "-Xms512m -Xmx512m"))

    def _is_ready(self) -> bool:
        # Asked within: the published port takes connections as long as the container runs.
        return self._life.answers("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{_KAFKA_PORT}")
