"""The processes of a stack by what they are for, and what each of them takes."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

import psutil

from deploy.local.stack import LocalStack

SERVER = "postgres: "


class Processes:
    """All parts of a running stack, and others by name. A part that starts anew is found again.

    PostgreSQL's are told apart by whose connection they serve; its title says so.
    """

    def __init__(self, stack: LocalStack, others: Mapping[str, int] | None = None) -> None:
        self._stack = stack
        self._others = others or {}
        self._seen: dict[tuple[int, float], float] = {}

    def each(self) -> Iterator[tuple[str, psutil.Process]]:
        """Every process with its label."""
        parts = {name: part.process.pid for name, part in self._stack.services.items()}
        parts |= {"gateway": self._stack.gateway.process.pid, "kafka": self._stack.kafka.process.pid, **self._others}
        for name, pid in parts.items():
            with suppress(psutil.NoSuchProcess):
                yield name, psutil.Process(pid)
        server = psutil.Process(self._stack.postgres.process.pid)
        yield f"{SERVER}itself", server
        for child in server.children():
            with suppress(psutil.NoSuchProcess, IndexError):
                yield SERVER + _whose(" ".join(child.cmdline())), child

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time of each since it was looked at last, those that take most first."""
        taken: dict[str, float] = {}
        for name, process in self.each():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                key = (process.pid, process.create_time())
                now = times.user + times.system
                taken[name] = taken.get(name, 0.0) + now - self._seen.get(key, 0.0)
                self._seen[key] = now
        return dict(sorted(taken.items(), key=lambda item: -item[1]))


def _whose(title: str) -> str:
    """Of `postgres: compass_signals compass 127.0.0.1(41234) idle` the role; of a server's own process its name."""
    words = title.removeprefix(SERVER).split()
    return words[0].removeprefix("compass_") if len(words) > 2 else " ".join(words)
