"""Real servers for tests, as pytest fixtures: one of each per test run, on free ports, in temporary folders.

`postgres` and `kafka` are single servers for the tests of one service. Tests share them and keep apart by their own
database, topics or keys.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local.kafka import EmbeddedKafka
from deploy.local.ports import free_port
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.postgres_place import remove_place


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


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server with the database `compass`, all schemas and roles, and no tables.

    It does not wait for the disk: what tests prove about crashes of processes does not depend on it.
    """
    with temporary_state_dir() as state_dir:
        server = EmbeddedPostgres(state_dir, free_port(), durable=False)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def kafka() -> Iterator[EmbeddedKafka]:
    """A Kafka broker without topics."""
    with temporary_state_dir() as state_dir:
        server = EmbeddedKafka(state_dir, free_port())
        server.start()
        try:
            yield server
        finally:
            server.stop()
