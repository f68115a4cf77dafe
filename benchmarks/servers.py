"""Real servers for a benchmark, with the settings of the local stack: durable, on free ports, in a temporary place."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.local.kafka import EmbeddedKafka
from deploy.local.ports import free_port
from deploy.local.postgres import EmbeddedPostgres
from tests.support.stack import running, temporary_state_dir


@dataclass(frozen=True, slots=True)
class Servers:
    """PostgreSQL with its schemas and roles, and Kafka without topics."""

    postgres: EmbeddedPostgres
    kafka: EmbeddedKafka


@contextmanager
def servers() -> Iterator[Servers]:
    """Start both; stop them at the end."""
    with (
        temporary_state_dir() as state_dir,
        running(EmbeddedPostgres(state_dir, free_port())) as postgres,
        running(EmbeddedKafka(state_dir, free_port())) as kafka,
    ):
        yield Servers(postgres, kafka)
