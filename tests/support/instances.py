"""More instances of a running stack's services, of this code or of another release's, and a gateway in front."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.local.envoy import EmbeddedEnvoy
from deploy.local.ports import free_ports
from deploy.local.processes import PROJECT_ROOT, release_guard
from deploy.local.secrets import SERVICES
from deploy.local.service import ServiceProcess, module_command, wait_until_ready
from deploy.local.settings import LocalSettings
from deploy.local.stack import READY_SECONDS, LocalStack
from shared.settings import PREFIX


def stop_all(services: Iterable[ServiceProcess]) -> None:
    """End services cleanly, all at once: each waits for the batches that it has in hand."""
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(ServiceProcess.stop, services):
            pass


class Instances:
    """One more instance of every service, on ports and with logs of its own; stopped when the context ends.

    `code` is the folder with the code that they run: this project's, or what `tests.support.releases` exports.
    """

    def __init__(self, stack: LocalStack, label: str, code: Path = PROJECT_ROOT) -> None:
        ports = dict(zip((f"{name}_port" for name in SERVICES), free_ports(len(SERVICES)), strict=True))
        self.settings = stack.settings.model_copy(update={"local_dir": stack.settings.local_dir / label, **ports})
        own = {PREFIX + name.upper(): str(port) for name, port in ports.items()}
        self.services: dict[str, ServiceProcess] = {}
        for name in SERVICES:
            service = ServiceProcess(name, self.settings, stack.service_environment(name) | own, module_command)
            service.process.command = replace(service.process.command, directory=code)
            self.services[name] = service

    def start(self) -> None:
        """Start all of them at once; returns when all are ready."""
        for service in self.services.values():
            service.start()
        wait_until_ready(self.services.values(), READY_SECONDS)

    def stop(self) -> None:
        """SIGTERM for all that run."""
        stop_all(self.services.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        release_guard(self.settings.local_dir)


class GatewayOverAll(EmbeddedEnvoy):
    """A gateway, beside the stack's own, that spreads requests over several instances of each service."""

    def __init__(self, stack: LocalStack, *others: Instances) -> None:
        folder = stack.settings.local_dir / "over-all"
        (port,) = free_ports(1)
        self._places: Sequence[LocalSettings] = [other.settings for other in others]
        self._folder = folder
        super().__init__(stack.settings.model_copy(update={"local_dir": folder, "gateway_port": port}))

    @property
    def gateway_url(self) -> str:
        """As a stack has it."""
        return self.url

    def configuration(self) -> dict[str, Any]:
        """That of one instance each, with the other instances' addresses in the same clusters."""
        configuration = super().configuration()
        for cluster in configuration["static_resources"]["clusters"]:
            (places,) = cluster["load_assignment"]["endpoints"]
            (first,) = places["lb_endpoints"]
            for settings in self._places:
                another = deepcopy(first)
                address = another["endpoint"]["address"]["socket_address"]
                address["port_value"] = settings.service_port(cluster["name"])
                places["lb_endpoints"].append(another)
        return configuration

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        release_guard(self._folder)
