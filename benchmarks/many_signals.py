"""A stack with many signals in it: the load generator's through Kafka, then copies of them by SQL."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from aiokafka import AIOKafkaProducer

from deploy.demo.outgoing import from_load
from deploy.local.stack import LocalStack
from shared.events.topics import ENGINE_SIGNALS
from tests.support.stack import UNLIMITED, free_settings, running, temporary_state_dir

PUBLISHED = 100_000
_ALTERED = ("id", "entity_id", "canonical_node_id", "detected_at", "simplified_severity", "is_current")
# The 5 % that somebody works on are spread over three states and the demo users.
_WORKED_ON = """
    UPDATE signals SET
        workflow_status = (ARRAY['assigned', 'in_progress', 'resolved'])[1 + floor(random() * 3)]::assignment_status,
        assignee_id = (SELECT id FROM users ORDER BY id OFFSET floor(random() * 3) LIMIT 1)
    WHERE random() < 0.05 AND workflow_status = 'new'
"""


@contextmanager
def stack_with_probe() -> Iterator[LocalStack]:
    """The whole local stack, without limits of rates, and with the probe in the signals service."""
    # Measuring takes longer than a token is good for.
    os.environ.update(UNLIMITED | {"COMPASS_ACCESS_TOKEN_SECONDS": "900"})

    def command_of(service: str) -> list[str]:
        module = "benchmarks.signals_with_probe" if service == "signals" else f"services.{service}.main"
        return [sys.executable, "-m", module]

    with (
        temporary_state_dir() as state_dir,
        running(LocalStack(free_settings(state_dir), command_of=command_of, say=_say)) as stack,
    ):
        yield stack


def _say(line: str) -> None:
    print(f"  {line}", flush=True)


async def publish(stack: LocalStack, connection: asyncpg.Connection, signals: int = PUBLISHED) -> None:
    """So many signals through Kafka, until they are stored and everybody has heard of them."""
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka.bootstrap_servers, linger_ms=5, max_batch_size=256 * 1024)
    async with producer:
        for message in from_load(signals, seed=1, as_of=None).messages:
            await producer.send(ENGINE_SIGNALS.name, message.value, message.key.encode())
    # An observer from outside has nothing else to wait on.
    while await connection.fetchval("SELECT count(*) FROM activity.activity_events") < signals:  # noqa: ASYNC110
        await asyncio.sleep(1)


async def multiply(connection: asyncpg.Connection, times: int, published: int = PUBLISHED) -> None:
    """As many signals again for each time but the first, of other entities, at other moments, of other severity."""
    columns = [
        f'"{row["column_name"]}"'
        for row in await connection.fetch(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_schema = 'signals' AND table_name = 'signals' "
            "AND is_generated = 'NEVER' AND column_name <> ALL($1) ORDER BY ordinal_position",
            _ALTERED,
        )
    ]
    names = ", ".join(columns)
    for number in range(1, times):
        await connection.execute(
            f"""
            INSERT INTO signals ({", ".join(_ALTERED)}, {names})
            SELECT gen_random_uuid(), gen_random_uuid(), canonical_node_id || '/{number}',
                detected_at - random() * interval '700 days', floor(random() * 101), true, {names}
            FROM signals WHERE canonical_node_id !~ '/\\d+$' LIMIT {published:d}
            """  # noqa: S608 - names of columns
        )
    await connection.execute(_WORKED_ON)
    await connection.execute("VACUUM (ANALYZE) signals")
    # What the service does by itself within seconds, at the latest; the benchmark does not wait for autovacuum.
    await connection.execute("CHECKPOINT")


async def tell_workflow(connection: asyncpg.Connection) -> None:
    """Let the workflow service know the copies as well, so that somebody can be assigned to them."""
    same = """event_sequence, metric_id, facility, facility_id, system_name, service_line, sub_service_line,
        group_value, description, metric_value, peer_mean, simplified_signal_type, simplified_severity"""
    await connection.execute(
        f"""
        INSERT INTO workflow.known_signals (signal_id, entity_id, detected_at, is_current, was_current,
            domain, polarity, magnitude_tier, {same.replace("event_", "").replace("simplified_", "")})
        SELECT id, entity_id, detected_at, true, true, domain::text::workflow.signal_domain,
            polarity::text::workflow.metric_polarity, magnitude_tier::text::workflow.magnitude_tier, {same}
        FROM signals.signals WHERE canonical_node_id ~ '/\\d+$'
        ON CONFLICT DO NOTHING
        """  # noqa: S608 - names of columns
    )
    await connection.execute("VACUUM (ANALYZE) workflow.known_signals")
