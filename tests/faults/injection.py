"""Brings a schedule's faults over a running stack, and takes them away again."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final

import psutil
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from deploy.local.errors import StackError
from deploy.local.supervisor import Part
from shared.events.topics import BY_NAME
from tests.faults.schedule import SERVICES, Fault, Kind
from tests.faults.stack import FaultyStack

_STORMED: Final = {
    "signals": ("signals.ingest", "engine.signals.v1"),
    "workflow": ("workflow.signals", "compass.signals.v1"),
    "activity": ("activity.signals", "compass.signals.v1"),
}
"""A group of each service that strangers join, and its topic."""


class Injector:
    """Carries out faults.

    `left_out` says what this machine does not allow, and why; `missed` are the faults that met nothing: the process
    was down already.
    """

    def __init__(self, stack: FaultyStack, *, small_disks: bool, note: Callable[[str], None]) -> None:
        self._stack = stack
        self._note = note
        self._ballast: set[Path] = set()
        self._paused: set[int] = set()
        self.left_out: dict[Kind, str] = {}
        self.missed: list[Fault] = []
        if not small_disks:
            self.left_out[Kind.DISK_FULL] = "needs root on Linux, to mount a small disk"
        if not stack.has_clocks:
            self.left_out[Kind.CLOCK_STEP] = "needs libfaketime"
        self._carry_out: dict[Kind, Callable[[Fault], Awaitable[bool]]] = {
            Kind.KILL: self._kill,
            Kind.PAUSE: self._pause,
            Kind.BACKEND_KILL: self._backend_kill,
            Kind.BACKEND_PAUSE: self._backend_pause,
            Kind.CUT: self._cut,
            Kind.SILENCE: self._silence,
            Kind.DELAY: self._delay,
            Kind.RESTART: self._restart,
            Kind.DISK_FULL: self._disk_full,
            Kind.CLOCK_STEP: self._clock_step,
            Kind.SECOND_INSTANCE: self._second_instance,
            Kind.REBALANCE_STORM: self._rebalance_storm,
            Kind.STALL_AND_KILL: self._stall_and_kill,
        }

    async def run(self, faults: Sequence[Fault]) -> None:
        """Carry out all faults, each at its time; returns when the last has ended and everything is healed."""
        began = monotonic()

        async def one(fault: Fault) -> None:
            await asyncio.sleep(max(0.0, began + fault.at - monotonic()))
            if fault.kind in self.left_out:
                self._note(f"left out: {fault}: {self.left_out[fault.kind]}")
                return
            self._note(f"{fault}")
            if not await self._carry_out[fault.kind](fault):
                self._note(f"missed: {fault}")
                self.missed.append(fault)

        try:
            await asyncio.gather(*(one(fault) for fault in faults))
        finally:
            self.heal()

    def heal(self) -> None:
        """Take away whatever still lasts."""
        for link in self._stack.links.values():
            link.heal()
        for path in list(self._ballast):
            self._remove_ballast(path)
        for service in SERVICES:
            self._stack.set_clock(service, 0)
        for pid in list(self._paused):
            self._signal(pid, signal.SIGCONT)
        self._paused.clear()

    def _part(self, name: str) -> Part:
        if name == "postgres":
            return self._stack.postgres
        return self._stack.kafka if name == "kafka" else self._stack.service(name)

    async def _kill(self, fault: Fault) -> bool:
        return await self._ended(self._part(fault.target))

    async def _ended(self, part: Part) -> bool:
        """Whether the process was there to be killed."""
        was_running = part.process.is_running
        with suppress(StackError):
            await asyncio.to_thread(part.process.kill)
        return was_running

    async def _pause(self, fault: Fault) -> bool:
        with suppress(StackError, psutil.NoSuchProcess):
            pid = self._part(fault.target).process.pid
            # A server's workers stop with it.
            family = psutil.Process(pid).children(recursive=True)
            await self._hold([pid, *(child.pid for child in family)], fault.seconds)
            return True
        return False

    def _backend(self, service: str) -> int | None:
        """One of the database's processes that works for the service."""
        with suppress(StackError, psutil.NoSuchProcess):
            for child in psutil.Process(self._stack.postgres.process.pid).children():
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    if f"compass_{service} " in " ".join(child.cmdline()):
                        return child.pid
        return None

    async def _backend_kill(self, fault: Fault) -> bool:
        pid = self._backend(fault.target)
        if pid is not None:
            self._signal(pid, signal.SIGKILL)
        return pid is not None

    async def _backend_pause(self, fault: Fault) -> bool:
        pid = self._backend(fault.target)
        if pid is not None:
            await self._hold([pid], fault.seconds)
        return pid is not None

    async def _hold(self, pids: Sequence[int], seconds: float) -> None:
        for pid in pids:
            self._signal(pid, signal.SIGSTOP)
        self._paused.update(pids)
        await asyncio.sleep(seconds)
        for pid in reversed(pids):
            self._signal(pid, signal.SIGCONT)
        self._paused.difference_update(pids)

    def _signal(self, pid: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    async def _cut(self, fault: Fault) -> bool:
        self._stack.links[fault.target].cut()
        return True

    async def _silence(self, fault: Fault) -> bool:
        link = self._stack.links[fault.target]
        link.silence()
        await asyncio.sleep(fault.seconds)
        # What was on its way is lost with the connection, as after a partition that outlasted TCP.
        link.cut()
        link.heal()
        return True

    async def _delay(self, fault: Fault) -> bool:
        link = self._stack.links[fault.target]
        link.delay_seconds = fault.amount
        await asyncio.sleep(fault.seconds)
        link.delay_seconds = 0.0
        return True

    async def _restart(self, fault: Fault) -> bool:
        """A clean stop, if it runs; whoever looks after the stack starts it again."""
        process = self._part(fault.target).process
        was_running = process.is_running
        await asyncio.to_thread(process.stop)
        return was_running

    async def _disk_full(self, fault: Fault) -> bool:
        ballast = self._stack.settings.local_dir / fault.target / "ballast"
        await asyncio.to_thread(self._fill, ballast)
        await asyncio.sleep(fault.seconds)
        self._remove_ballast(ballast)
        if fault.target == "kafka":
            # A broker goes on half dead with the parts that met the full disk: whoever makes room starts it anew.
            await self._restart(fault)
        return True

    def _fill(self, ballast: Path) -> None:
        self._ballast.add(ballast)
        # Unbuffered: what does not fit would be tried once more when the file is closed, and fail there.
        with ballast.open("wb", buffering=0) as file:
            places = os.fstatvfs(file.fileno())
            free = places.f_bavail * places.f_frsize
            # The server goes on writing meanwhile: as much as fits, then page by page.
            with suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, max(1, free - places.f_frsize))
            with suppress(OSError):
                while True:
                    file.write(bytes(4096))

    def _remove_ballast(self, ballast: Path) -> None:
        ballast.unlink(missing_ok=True)
        self._ballast.discard(ballast)

    async def _clock_step(self, fault: Fault) -> bool:
        self._stack.set_clock(fault.target, fault.amount)
        await asyncio.sleep(fault.seconds)
        self._stack.set_clock(fault.target, 0)
        return True

    async def _second_instance(self, fault: Fault) -> bool:
        await asyncio.to_thread(self._stack.start_second, fault.target)
        return True

    async def _rebalance_storm(self, fault: Fault) -> bool:
        """Members that read and store nothing join the service's group and leave it, one after the other."""
        group, topic = _STORMED[fault.target]
        pause = fault.seconds / fault.amount
        joined = False
        for _ in range(int(fault.amount)):
            consumer = AIOKafkaConsumer(
                BY_NAME[topic].name,
                bootstrap_servers=self._stack.kafka.bootstrap_servers,
                group_id=group,
                enable_auto_commit=False,
            )
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(pause + 5):
                    await consumer.start()
                    joined = True
                    await asyncio.sleep(pause)
            with suppress(KafkaError, TimeoutError, OSError):
                async with asyncio.timeout(10):
                    await consumer.stop()
        return joined

    async def _stall_and_kill(self, fault: Fault) -> bool:
        service, _, server = fault.target.rpartition("-")
        link = self._stack.links[fault.target]
        link.silence()
        await asyncio.sleep(fault.seconds)
        was_running = await self._ended(self._stack.service(service))
        link.cut()
        link.heal()
        if was_running:
            self._note(f"{service} died while {server} was silent")
        return was_running
