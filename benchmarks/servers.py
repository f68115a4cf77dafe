"""Real servers for a benchmark, with the settings of the local stack: durable, on free ports, in a temporary place."""

from collections.abc import Iterator, Mapping
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
def servers(
    *, postgres_settings: Mapping[str, str] | None = None, kafka_settings: Mapping[str, str] | None = None
) -> Iterator[Servers]:
    """Start both, with other settings than the local stack's where some are given; stop them at the end."""
    with (
        temporary_state_dir() as state_dir,
        running(EmbeddedPostgres(state_dir, free_port(), settings=postgres_settings)) as postgres,
        running(EmbeddedKafka(state_dir, free_port(), settings=kafka_settings)) as kafka,
    ):
        yield Servers(postgres, kafka)
