"""The embedded stack with proxies in between, disks that can fill up, clocks that can step, and second instances."""

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy.local import jobs, ports
from deploy.local.envoy import EmbeddedEnvoy
from deploy.local.errors import StackError
from deploy.local.kafka import EmbeddedKafka
from deploy.local.postgres_place import remove_place
from deploy.local.processes import release_guard
from deploy.local.service import CommandOf, ServiceProcess, module_command
from deploy.local.settings import LocalSettings
from deploy.local.stack import LocalStack
from deploy.local.supervisor import Supervisor
from shared.settings import PREFIX
from tests.faults.proxy import Link
from tests.faults.schedule import SERVERS, SERVICES, links
from tests.support.stack import free_settings

DISK_BYTES: Final = {"postgres": 500 * 1024 * 1024, "kafka": 300 * 1024 * 1024}
_TICK_SECONDS: Final = 0.2

# Shorter than what production waits, so that a seed takes no minutes to come to rest.
_PATIENCE: Final = {f"{PREFIX}STUCK_CONSUMER_SECONDS": "12", f"{PREFIX}OUTBOX_ACKNOWLEDGE_SECONDS": "10"}


class LinkedKafka(EmbeddedKafka):
    """A broker with a listener for each service that advertises the service's proxy: all of its traffic goes there."""

    def __init__(self, state_dir: Path, port: int, listeners: dict[str, int], advertised: dict[str, int]) -> None:
        super().__init__(state_dir, port)
        self._own = listeners
        self._advertised = advertised

    def _write_configuration(self) -> None:
        super()._write_configuration()
        lines = self._properties_file.read_text().splitlines()
        settings = dict(line.split("=", 1) for line in lines)
        for name, port in self._own.items():
            settings["listeners"] += f",{name.upper()}://{ports.HOST}:{port}"
            settings["advertised.listeners"] += f",{name.upper()}://{ports.HOST}:{self._advertised[name]}"
            settings["listener.security.protocol.map"] += f",{name.upper()}:PLAINTEXT"
        self._properties_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


class FaultyStack(LocalStack):
    """Everything in one state directory, started by hand part by part and looked after as `make run` does it."""

    def __init__(self, settings: LocalSettings, command_of: CommandOf = module_command) -> None:
        names = links()
        numbers = ports.free_ports(len(names) + len(SERVICES))
        listeners = dict(zip(SERVICES, numbers[len(names) :], strict=True))
        targets = {f"{service}-postgres": settings.postgres_port for service in SERVICES}
        targets |= {f"{service}-kafka": listeners[service] for service in SERVICES}
        targets |= {f"gateway-{service}": settings.service_port(service) for service in SERVICES}
        self.links = {name: Link(name, port, targets[name]) for name, port in zip(names, numbers, strict=False)}
        self._command_of = command_of
        self._library = clock_library()
        super().__init__(settings, command_of=command_of)
        advertised = {service: self.links[f"{service}-kafka"].port for service in SERVICES}
        self.kafka = LinkedKafka(settings.local_dir, settings.kafka_port, listeners, advertised)
        behind = {f"{service}_port": self.links[f"gateway-{service}"].port for service in SERVICES}
        self.gateway = EmbeddedEnvoy(settings.model_copy(update=behind))
        self.seconds: dict[str, ServiceProcess] = {}
        """Second instances by service."""
        self._supervisors: list[Supervisor] = []
        self._notes: Callable[[str], None] = print

    def service_environment(self, name: str) -> dict[str, str]:
        """As in every stack, but for the proxies in between and the clock."""
        environment = super().service_environment(name) | _PATIENCE
        url, kafka = PREFIX + "DATABASE_URL", PREFIX + "KAFKA_BOOTSTRAP_SERVERS"
        proxied = f":{self.links[f'{name}-postgres'].port}/"
        environment[url] = environment[url].replace(f":{self.settings.postgres_port}/", proxied)
        environment[kafka] = f"{ports.HOST}:{self.links[f'{name}-kafka'].port}"
        if self._library is not None:
            environment |= {
                "LD_PRELOAD": str(self._library),
                "FAKETIME_TIMESTAMP_FILE": str(self.clock_file(name)),
                "FAKETIME_CACHE_DURATION": "1",
                # What measures durations keeps counting when the time of day is put right.
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        return environment

    @property
    def has_clocks(self) -> bool:
        """Whether a service's clock can step."""
        return self._library is not None

    def clock_file(self, service: str) -> Path:
        """What says how far a service's clock is off."""
        return self.settings.local_dir / f"clock-{service}"

    def set_clock(self, service: str, seconds: float) -> None:
        """Put the clock of a service's processes so far from the truth; 0 is the truth."""
        unfinished = self.clock_file(service).with_suffix(".new")
        unfinished.write_text(f"{seconds:+g}\n")
        unfinished.replace(self.clock_file(service))

    async def start_copy(self, notes: Callable[[str], None]) -> None:
        """Start what `prepare` has made ready, with the proxies."""
        self._notes = notes
        for service in SERVICES:
            self.set_clock(service, 0)
        for link in self.links.values():
            await link.start()
        await asyncio.to_thread(self.start_servers)
        await asyncio.to_thread(self.start_services)
        await asyncio.to_thread(self._start, "gateway", self.gateway)
        self._supervisors = [Supervisor(self.parts, notes)]

    async def supervise(self) -> None:
        """Restart what dies, until cancelled."""
        while True:
            for supervisor in list(self._supervisors):
                await asyncio.to_thread(supervisor.tick)
            await asyncio.sleep(_TICK_SECONDS)

    def start_second(self, name: str) -> ServiceProcess:
        """Start another instance of a service, with logs of its own; it is looked after like the first."""
        if name in self.seconds:
            return self.seconds[name]
        port = ports.free_port()
        folder = self._second_folder(name)
        settings = self.settings.model_copy(update={"local_dir": folder, f"{name}_port": port})
        environment = self.service_environment(name) | {f"{PREFIX}{name.upper()}_PORT": str(port)}
        second = ServiceProcess(name, settings, environment, self._command_of)
        second.start()
        self.seconds[name] = second
        self._supervisors.append(Supervisor([second], lambda text: self._notes(f"second {text}")))
        return second

    def instances(self, service: str) -> list[ServiceProcess]:
        """All processes of a service."""
        return [self.service(service), *(second for name, second in self.seconds.items() if name == service)]

    async def stop_all(self) -> None:
        """End everything that was started, at once: nothing of it is needed any more."""
        for link in self.links.values():
            await link.stop()
        for part in (*self.seconds.values(), *self.parts):
            with suppress(StackError):
                await asyncio.to_thread(part.process.kill)
        for second in self.seconds:
            release_guard(self._second_folder(second))
        await asyncio.to_thread(self.stop)

    def _second_folder(self, service: str) -> Path:
        return self.settings.local_dir / f"second-{service}"


def prepare(folder: Path) -> None:
    """Make the state that every seed begins with: a database with its schemas, a broker with its topics, users."""
    stack = LocalStack(free_settings(folder))
    stack.start_servers()
    try:
        stack.prepare()
        jobs.make_demo_users(stack.service_environment("auth"), folder / "logs" / "jobs.log")
    finally:
        stack.stop()
    if not (folder / "postgres" / "data").exists():
        raise StackError(f"the database server's user cannot reach {folder}: set TMPDIR to a folder that it can")
    shutil.rmtree(folder / "logs")


def copy_state(prepared: Path, folder: Path) -> bool:
    """Make a seed's state directory; answers whether its servers' disks are small ones that can fill up."""
    folder.chmod(0o711)
    small = [_mount(folder / server, size) for server, size in DISK_BYTES.items()]
    # Owners and modes as well: the database server runs as another user.
    subprocess.run(["cp", "-a", f"{prepared}/.", str(folder)], check=True)
    if os.geteuid() == 0:
        (folder / "postgres.place").write_text(f"{folder.resolve() / 'postgres'}\n")
    return all(small)


def remove_state(folder: Path) -> None:
    """Remove a state directory with everything that was put elsewhere for it."""
    for server in SERVERS:
        if (folder / server).is_mount():
            subprocess.run(["umount", "--lazy", str(folder / server)], check=True)
    with suppress(FileNotFoundError):
        remove_place(folder)
        shutil.rmtree(folder)


def _mount(place: Path, size: int) -> bool:
    """Mount a small disk; False where that is not allowed."""
    place.mkdir(exist_ok=True)
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    options = f"size={size},mode=0711"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=False, capture_output=True
    )
    return mounted.returncode == 0


def clock_library() -> Path | None:
    """The library that lets a process see another time; None where the platform has none."""
    spec = importlib.util.find_spec("libfaketime")
    if spec is None or spec.origin is None or sys.platform != "linux":
        return None
    library = Path(spec.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    return library if library.exists() else None


def mutated_command(mutation: str) -> CommandOf:
    """How a service is run with the product broken on purpose."""

    def command(service: str) -> Sequence[str]:
        return [sys.executable, "-m", "tests.faults.launch", mutation, service]

    return command
