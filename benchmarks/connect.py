"""A worker of Kafka Connect as a process of its own, with the connectors of `connect_jars`.

Standalone, so that it keeps nothing in Kafka, with the memory and the collector that Kafka's own start script gives it.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.connect_jars import connect_class_path
from deploy.local.jars import java_home
from deploy.local.kafka import LOG_SETTINGS
from deploy.local.ports import HOST, free_port
from deploy.local.processes import Command, ManagedProcess, release_guard
from tests.support.stack import temporary_state_dir

_START_SECONDS = 90.0
_JAVA_OPTIONS = (
    "-Xms256M",
    "-Xmx2G",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "--enable-native-access=ALL-UNNAMED",
)


class ConnectError(Exception):
    """The worker or a connector does not do what it was told to."""


class ConnectWorker:
    """A running worker, told over its REST interface what to run."""

    def __init__(self, process: ManagedProcess, url: str) -> None:
        self._process = process
        self._client = httpx.AsyncClient(base_url=url, timeout=60)

    @property
    def pid(self) -> int:
        """The pid of the worker's process."""
        return self._process.pid

    async def ready(self) -> None:
        """Wait until it takes orders.

        Raises:
            ConnectError: when it ends or takes too long.
        """
        async with asyncio.timeout(_START_SECONDS):
            while self._process.is_running:
                try:
                    (await self._client.get("/connectors")).raise_for_status()
                except httpx.HTTPError:
                    await asyncio.sleep(0.2)
                else:
                    return
        raise ConnectError(f"Kafka Connect ended:\n{self._process.log_tail(40)}")

    async def create(self, name: str, configuration: Mapping[str, str]) -> None:
        """Start a connector and wait until it has started its tasks."""
        answer = await self._client.post("/connectors", json={"name": name, "config": dict(configuration)})
        if answer.is_error:
            raise ConnectError(answer.text)
        async with asyncio.timeout(_START_SECONDS):
            while not await self.is_running(name):  # noqa: ASYNC110 - REST has nothing to wait on
                await asyncio.sleep(0.1)

    async def is_running(self, name: str) -> bool:
        """Whether the connector and all its tasks run.

        Raises:
            ConnectError: when it or a task of it has failed, with the reason.
        """
        answer = await self._client.get(f"/connectors/{name}/status")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return False
        status: dict[str, Any] = answer.raise_for_status().json()
        parts = [status["connector"], *status["tasks"]]
        for part in parts:
            if part["state"] == "FAILED":
                raise ConnectError(f"{name}: {part.get('trace')}\n{self._process.log_tail(40)}")
        return bool(status["tasks"]) and all(part["state"] == "RUNNING" for part in parts)

    async def delete(self, name: str) -> None:
        """Stop a connector; returns when its tasks have ended."""
        (await self._client.delete(f"/connectors/{name}")).raise_for_status()

    async def close(self) -> None:
        """Hang up; the process ends with the context that started it."""
        await self._client.aclose()


@contextmanager
def connect_worker(bootstrap_servers: str) -> Iterator[ConnectWorker]:
    """A worker without connectors; it ends with the context."""
    with temporary_state_dir() as state_dir:
        port = free_port()
        process = ManagedProcess("connect", _command(state_dir, bootstrap_servers, port), state_dir)
        try:
            process.start()
            yield ConnectWorker(process, f"http://{HOST}:{port}")
        finally:
            process.stop()
            release_guard(state_dir)


def _command(state_dir: Path, bootstrap_servers: str, port: int) -> Command:
    plugins = state_dir / "plugins"
    plugins.mkdir()
    settings = {
        "bootstrap.servers": bootstrap_servers,
        "listeners": f"http://{HOST}:{port}",
        "offset.storage.file.filename": str(state_dir / "offsets"),
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        # Everything is on the class path, and says by itself what it is.
        "plugin.path": str(plugins),
        "plugin.discovery": "service_load",
    }
    properties = state_dir / "worker.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return Command(
        [
            str(java_home() / "bin" / "java"),
            *_JAVA_OPTIONS,
            f"-Dlog4j2.configurationFile={LOG_SETTINGS.as_uri()}",
            "-cp",
            connect_class_path(),
            "org.apache.kafka.connect.cli.ConnectStandalone",
            str(properties),
        ],
        directory=state_dir,
    )
