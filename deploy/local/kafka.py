"""One Kafka 4.3.1 broker in KRaft mode, its own controller, on 127.0.0.1, from pinned JARs and the Java of a wheel."""

import base64
import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from deploy.local import ports
from deploy.local.errors import StackError
from deploy.local.jars import java_home, kafka_class_path
from deploy.local.processes import Command, ManagedProcess, poll_until
from deploy.local.server import Server

HEAP = "512m"
LOG_SETTINGS = Path(__file__).with_name("log4j2.xml")

# One node: everything has one replica. Few partitions of the internal topics: each is a folder with open files.
BROKER_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "2",
    "group.initial.rebalance.delay.ms": "0",
    # A killed broker may register again once its old session is over.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    # The cleaner's buffer, 128 MB unless set, comes out of the heap.
    "log.cleaner.dedupe.buffer.size": "33554432",
}

_START_SECONDS = 120.0
_STOP_SECONDS = 30.0


class EmbeddedKafka(Server):
    """One broker; `settings` are for those of the local stack that somebody needs otherwise."""

    name = "kafka"
    title = "Kafka"

    def __init__(
        self,
        state_dir: Path,
        port: int,
        *,
        settings: Mapping[str, str] | None = None,
        variable: str = "COMPASS_KAFKA_PORT",
    ):
        super().__init__(state_dir, port, variable=variable)
        self._settings = {**BROKER_SETTINGS, **(settings or {})}
        self._folder = self.state_dir / "kafka"

    @property
    def bootstrap_servers(self) -> str:
        """What clients are given to find the broker."""
        return f"{ports.HOST}:{self.port}"

    def start(self) -> None:
        """Start it and wait until it takes connections; the first time, format its storage."""
        if self._process is not None and self._process.is_running:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        java = [str(java_home() / "bin" / "java"), "-cp", kafka_class_path()]
        process = ManagedProcess(self.name, self._command(java), self.state_dir)
        process.end_left_over()
        ports.require_free(self.port, self.title, self._variable)
        self._write_configuration()
        self._format(java)
        self._process = process
        process.start()
        ready = poll_until(lambda: not process.is_running or ports.accepts_connections(self.port), _START_SECONDS)
        if not ready or not process.is_running:
            tail = process.log_tail()
            process.stop()
            raise StackError(f"Kafka did not start ({process.exit_status}). The end of {process.log_path}:\n{tail}")

    @property
    def _properties_file(self) -> Path:
        return self._folder / "server.properties"

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _command(self, java: list[str]) -> Command:
        runtime, *class_path = java
        return Command(
            [
                runtime,
                f"-Xmx{HEAP}",
                "-XX:+UseSerialGC",
                # A broker that cannot get memory is restarted instead of living on half dead.
                "-XX:+ExitOnOutOfMemoryError",
                # Compression libraries load native code; without this Java 25 warns about each.
                "--enable-native-access=ALL-UNNAMED",
                f"-Dlog4j2.configurationFile={LOG_SETTINGS.as_uri()}",
                *class_path,
                "kafka.Kafka",
                str(self._properties_file),
            ],
            directory=self._folder,
            stop_seconds=_STOP_SECONDS,
        )

    def _write_configuration(self) -> None:
        # Nobody outside needs to know the controller's port, and the only voter is told it at every start.
        controller = f"{ports.HOST}:{ports.free_port()}"
        settings = {
            **self._settings,
            "listeners": f"PLAINTEXT://{self.bootstrap_servers},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "controller.quorum.voters": f"1@{controller}",
            # Relative to the broker's working directory: a comma in a path would make two of it.
            "log.dirs": self._data.name,
        }
        self._properties_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def _format(self, java: list[str]) -> None:
        # Written last: what a crash in the middle of formatting left is formatted again.
        if (self._data / "meta.properties").exists():
            return
        # Kafka writes ids like this one; the letter keeps it from starting with a dash, which would read as an option.
        cluster_id = "C" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        formatted = subprocess.run(
            [*java, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties_file)],
            env={**os.environ, "JAVA_HOME": str(java_home())},
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if formatted.returncode != 0:
            raise StackError(f"Kafka's storage could not be formatted: {(formatted.stdout + formatted.stderr).strip()}")
