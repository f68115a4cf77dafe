"""Looking at ports before a server is started on them, so that a clash is named instead of timing out."""

import fcntl
import os
import socket
import tempfile
from functools import cache
from pathlib import Path
from random import SystemRandom
from typing import IO, Final

from deploy.local.errors import StackError

HOST = "127.0.0.1"

# Systems give connections their own end from 32768 on, or from higher: one of them could have the port of a server
# just while that is being started again.
_FIRST_FREE: Final = 20_000
_LAST_FREE: Final = 31_999
# A process's own locks do not keep it from anything.
_given: Final[set[int]] = set()


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now. A port in TIME_WAIT counts as free, as it does for the servers."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def require_free(port: int, what: str, variable: str) -> None:
    """Raise StackError, naming the variable that moves `what` elsewhere, when something else listens on the port."""
    # A listener on all addresses does not keep macOS from listening on this one as well.
    if accepts_connections(port) or not is_free(port):
        raise StackError(
            f"port {port} for {what} is in use by another program: stop that, or choose another port with {variable}"
        )


def accepts_connections(port: int) -> bool:
    """Whether something on this machine answers on the port."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def free_port() -> int:
    """A port that nothing uses, and that nobody else is given by this function."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different ports that nothing uses, that no connection is given later, and that nobody else is given here."""
    ports: list[int] = []
    while len(ports) < count:
        port = SystemRandom().randint(_FIRST_FREE, _LAST_FREE)
        if port not in _given and is_free(port) and _reserve(port):
            _given.add(port)
            ports.append(port)
    return ports


@cache
def _reservations() -> IO[bytes]:
    """A file of which each byte is a port; who has locked it has the port. Locks end with their process."""
    return (Path(tempfile.gettempdir()) / f"compass-ports-{os.getuid()}").open("ab")


def _reserve(port: int) -> bool:
    """Keep other processes from taking the port for free while no server listens there yet."""
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True
