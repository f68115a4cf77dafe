"""Real servers for tests, as pytest fixtures: one of each per test run, on free ports, in temporary folders.

`postgres` and `kafka` are single servers for the tests of one service. `stack` is everything, as `make run` starts it
but without a supervisor: what a test kills stays dead until the test starts it again. Tests share them and keep apart
by their own database, topics or keys.

With COMPASS_TEST_STACK=containers PostgreSQL and Kafka are those of the public images, in containers; tests of the
embedded servers themselves make theirs as ever.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from deploy.local.kafka import EmbeddedKafka
from deploy.local.ports import free_port, free_ports
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.postgres_place import remove_place
from deploy.local.settings import LocalSettings
from deploy.local.stack import LocalStack

CONTAINERS = {"": False, "embedded": False, "containers": True}[os.environ.get("COMPASS_TEST_STACK", "")]
"""Whether PostgreSQL and Kafka run in containers."""

Server = TypeVar("Server", EmbeddedPostgres, EmbeddedKafka, LocalStack)


@contextmanager
def temporary_state_dir() -> Iterator[Path]:
    """A state directory for servers, removed at the end with everything that was put elsewhere for it."""
    state_dir = Path(tempfile.mkdtemp(prefix="compass-test-"))
    # Under root the database server runs as another user, who has to get through to its data.
    state_dir.chmod(0o711)
    try:
        yield state_dir
    finally:
        remove_place(state_dir)
        shutil.rmtree(state_dir)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Start a server and stop it at the end, also when its start is interrupted half-way."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server with the database `compass`, all schemas and roles, and no tables.

    It does not wait for the disk: what tests prove about crashes of processes does not depend on it.
    """
    with ExitStack() as cleanup:
        state_dir = cleanup.enter_context(temporary_state_dir())
        yield cleanup.enter_context(running(_postgres(state_dir, free_port(), cleanup, durable=False)))


@pytest.fixture(scope="session")
def kafka() -> Iterator[EmbeddedKafka]:
    """A Kafka broker without topics."""
    with ExitStack() as cleanup:
        state_dir = cleanup.enter_context(temporary_state_dir())
        yield cleanup.enter_context(running(_kafka(state_dir, free_port(), cleanup)))


def _postgres(state_dir: Path, port: int, cleanup: ExitStack, *, durable: bool) -> EmbeddedPostgres:
    if not CONTAINERS:
        return EmbeddedPostgres(state_dir, port, durable=durable)
    from tests.support.containers import ContainerPostgres  # The client needs a Docker Engine to be imported.

    server = ContainerPostgres(state_dir, port, durable=durable)
    cleanup.callback(server.remove)
    return server


def _kafka(state_dir: Path, port: int, cleanup: ExitStack) -> EmbeddedKafka:
    if not CONTAINERS:
        return EmbeddedKafka(state_dir, port)
    from tests.support.containers import ContainerKafka

    server = ContainerKafka(state_dir, port)
    cleanup.callback(server.remove)
    return server


def free_settings(state_dir: Path) -> LocalSettings:
    """Settings of a stack on ports that nothing uses."""
    names = [name for name in LocalSettings.model_fields if name.endswith("_port")]
    return LocalSettings.model_validate(
        {"local_dir": state_dir, **dict(zip(names, free_ports(len(names)), strict=True))}
    )


UNLIMITED = {
    f"COMPASS_GATEWAY_{limit}": "1000000"
    for limit in (
        "REQUESTS_PER_SECOND",
        "REQUESTS_PER_SECOND_AND_ADDRESS",
        "REQUESTS_PER_SECOND_AND_TOKEN",
        "LOGINS_PER_MINUTE_AND_ADDRESS",
    )
}
"""All tests come from one address; the limits have tests of their own."""


@contextmanager
def whole_stack() -> Iterator[LocalStack]:
    """All processes of the stack, with the demo users and no signals, and without the gateway's rate limits.

    Unlike `postgres` it does wait for the disk.
    """
    with ExitStack() as cleanup:
        environment = cleanup.enter_context(pytest.MonkeyPatch.context())
        state_dir = cleanup.enter_context(temporary_state_dir())
        for name, value in UNLIMITED.items():
            environment.setenv(name, value)
        settings = free_settings(state_dir)
        everything = LocalStack(settings)
        if CONTAINERS:
            # The same addresses and passwords: the services' settings hold for these servers as well.
            everything.postgres = _postgres(state_dir, settings.postgres_port, cleanup, durable=True)
            everything.kafka = _kafka(state_dir, settings.kafka_port, cleanup)
        yield cleanup.enter_context(running(everything))


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """The stack that tests share."""
    with whole_stack() as everything:
        yield everything


@pytest.fixture
def own_stack() -> Iterator[LocalStack]:
    """A stack for one test that takes everything away from it."""
    with whole_stack() as everything:
        yield everything
