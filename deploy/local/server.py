"""What the embedded servers have in common: a process that the next start continues."""

from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.processes import ManagedProcess, release_guard


class Server:
    """One server on 127.0.0.1. Stopped or killed, it starts again on the same port with the same data."""

    name: str
    title: str

    def __init__(self, state_dir: Path, port: int, *, variable: str):
        self.state_dir = state_dir.absolute()
        self.port = port
        self._variable = variable
        self._process: ManagedProcess | None = None

    @property
    def process(self) -> ManagedProcess:
        """The server's process; StackError before the first start."""
        if self._process is None:
            raise StackError(f"{self.title} was not started")
        return self._process

    def stop(self) -> None:
        """Clean shutdown: whatever it has confirmed is on disk."""
        if self._process is not None:
            self._process.stop()
            release_guard(self.state_dir)

    def kill(self) -> None:
        """SIGKILL, for the server and all its workers."""
        if self._process is not None:
            self._process.kill()
