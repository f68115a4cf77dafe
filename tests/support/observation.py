"""What there is to see of a stack at rest, for oracles: the topics' logs, and the tables; all, or of some signals."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.events import envelope, topics

Row = dict[str, Any]
Places = Mapping[tuple[str, int], int]
"""An offset in each partition of some topics."""

EVENT_TOPICS: Final = (
    topics.COMPASS_SIGNALS.name,
    topics.COMPASS_WORKFLOW.name,
    topics.COMPASS_AUTH.name,
    topics.COMPASS_OPERATIONS.name,
)
"""What the services tell each other."""

_QUERIES: Final = {
    "signals": """
        SELECT id, entity_id, detected_at, is_current, event_sequence, description, metric_value,
               simplified_signal_type AS signal_type, simplified_severity AS severity, domain::text, facility,
               magnitude_tier::text, workflow_status::text, assignment_id, assignee_id
        FROM signals.signals
    """,
    "insights": "SELECT id, entity_id, signal_id, title FROM signals.insights",
    "waiting_states": "SELECT signal_id FROM signals.waiting_workflow_states",
    "signals_users": "SELECT id, name, is_active FROM signals.users",
    "domain_counts": """
        SELECT value, sum(number)::bigint AS number FROM (
            SELECT domain::text AS value, count AS number FROM signals.option_counts WHERE facet = 'signal'
            UNION ALL SELECT domain::text, delta FROM signals.option_deltas WHERE facet = 'signal'
        ) AS changes GROUP BY value
    """,
    "assignments": """
        SELECT id, signal_id, entity_id, status::text, assignee_id, assigner_id, version FROM workflow.assignments
    """,
    "transitions": """
        SELECT id, assignment_id, signal_id, previous_signal_id, kind::text, from_status::text, to_status::text,
               assignee_id, notes
        FROM workflow.assignment_transitions ORDER BY id
    """,
    "comments": "SELECT id, signal_id, text FROM workflow.comments",
    "interventions": "SELECT id, signal_id, title FROM workflow.interventions",
    "known_signals": """
        SELECT signal_id AS id, entity_id, detected_at, is_current, description, metric_value, signal_type, severity,
               domain::text, facility, magnitude_tier::text
        FROM workflow.known_signals
    """,
    "workflow_users": "SELECT user_id AS id, name, is_active FROM workflow.known_users",
    "auth_users": "SELECT id, name, is_active FROM auth.users",
    "sessions": "SELECT id FROM auth.sessions",
    "audit": """
        SELECT position, event_id, topic, source, subject, sequence, type, actor_id, feed_type, envelope,
               snapshot_id <> '00000000-0000-0000-0000-000000000000' AS is_snapshot
        FROM activity.audit_log ORDER BY position
    """,
    "feed": """
        SELECT id, event_type::text, source, subject, sequence, type, position, read
        FROM activity.activity_events ORDER BY position
    """,
    "read_up_to": "SELECT user_id, position FROM activity.feed_read_watermarks",
    "read_singly": """
        SELECT noted.user_id, event.position FROM activity.feed_read_bits AS noted
        JOIN activity.activity_events AS event ON event.position / length(noted.bits) = noted.block
        WHERE get_bit(noted.bits, (event.position % length(noted.bits))::integer) = 1
    """,
    "gaps": "SELECT source, subject, first, last FROM activity.sequence_gaps",
    "known_assignments": """
        SELECT assignment_id AS id, signal_id, status, assignee_id FROM activity.known_assignments
    """,
    "dead_letters": """
        SELECT 'signals' AS service, consumer_group, topic, partition, "offset", key, value FROM signals.dead_letters
        UNION ALL SELECT 'workflow', consumer_group, topic, partition, "offset", key, value FROM workflow.dead_letters
        UNION ALL SELECT 'activity', consumer_group, topic, partition, "offset", key, value FROM activity.dead_letters
    """,
    "outboxes": """
        SELECT 'signals' AS service, id FROM signals.outbox UNION ALL SELECT 'workflow', id FROM workflow.outbox
        UNION ALL SELECT 'activity', id FROM activity.outbox UNION ALL SELECT 'auth', id FROM auth.outbox
    """,
}

_SIGNAL_COLUMNS: Final = {
    "signals": "id",
    "assignments": "signal_id",
    "transitions": "signal_id",
    "comments": "signal_id",
    "known_signals": "id",
    "audit": "subject",
    "feed": "subject",
    "gaps": "subject",
    "known_assignments": "signal_id",
}
"""The tables that are about signals, and the column that says about which."""


@dataclass(frozen=True, slots=True)
class Record:
    """One message as it stands in a partition."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(slots=True)
class Observation:
    """What was seen. Each topic's records are in the order of their partitions and offsets."""

    topics: dict[str, list[Record]] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    calm: Places = field(default_factory=dict)
    """Where each partition of the services' topics ended before the last, peaceful messages."""
    verified: str | None = None
    """What the command that verifies the audit log's chain complains of; None where it is content."""
    recounted: str | None = None
    """What the command that counts signals anew has found wrong; None where every count was right."""

    def table(self, name: str) -> list[Row]:
        """The rows of one table."""
        return self.tables.get(name, [])

    def records(self, *names: str) -> list[Record]:
        """The records of some topics."""
        return [record for name in names for record in self.topics.get(name, [])]


async def observe(database_url: str, bootstrap_servers: str) -> Observation:
    """Read all of it."""
    return Observation(
        await _read_topics(bootstrap_servers, tuple(topics.BY_NAME)), await _read_tables(database_url, _QUERIES)
    )


async def tables_about(database_url: str, signals: Collection[UUID]) -> dict[str, list[Row]]:
    """The tables' rows about these signals; of the outboxes all."""
    queries = {
        name: f"SELECT * FROM ({_QUERIES[name]}) AS found WHERE {condition}"  # noqa: S608 - our own queries
        for name, condition in (
            *((name, f"{column} = ANY($1::uuid[])") for name, column in _SIGNAL_COLUMNS.items()),
            ("outboxes", "$1::uuid[] IS NOT NULL"),
        )
    }
    return await _read_tables(database_url, queries, list(signals))


async def _read_tables(database_url: str, queries: Mapping[str, str], *parameters: Any) -> dict[str, list[Row]]:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.set_type_codec(
            "jsonb", encoder=str, decoder=msgspec.json.decode, schema="pg_catalog", format="text"
        )
        # One moment for all tables: what is at rest must agree with itself.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return {
                name: [dict(row) for row in await connection.fetch(query, *parameters)]
                for name, query in queries.items()
            }
    finally:
        await connection.close()


async def ends(consumer: AIOKafkaConsumer, names: tuple[str, ...]) -> dict[TopicPartition, int]:
    """Where each partition of these topics ends."""
    places = [TopicPartition(name, number) for name in names for number in range(topics.BY_NAME[name].partitions)]
    found: dict[TopicPartition, int] = await consumer.end_offsets(places)
    return found


async def topics_about(bootstrap_servers: str, signals: Collection[UUID], begin: Places) -> dict[str, list[Record]]:
    """The events about these signals, from these offsets on."""
    read = await _read_topics(bootstrap_servers, EVENT_TOPICS, begin)
    return {
        name: [record for record in records if envelope.decode(record.value).subject in signals]
        for name, records in read.items()
    }


async def _read_topics(
    bootstrap_servers: str, names: tuple[str, ...], begin: Places | None = None
) -> dict[str, list[Record]]:
    """What these topics have, from their first messages on or from some offsets."""
    first = begin or {}
    read: dict[str, list[Record]] = {name: [] for name in names}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, enable_auto_commit=False, max_partition_fetch_bytes=8 * 1024 * 1024
    )
    await consumer.start()
    try:
        until = {place: end for place, end in (await ends(consumer, names)).items() if end > first.get(place, 0)}
        consumer.assign(list(until))
        await consumer.seek_to_beginning(*until)
        for place in until.keys() & first.keys():
            consumer.seek(place, first[place])
        while until:
            batches = await consumer.getmany(timeout_ms=1000)
            for place, batch in batches.items():
                read[place.topic] += [
                    Record(m.topic, m.partition, m.offset, m.key, m.value, tuple(m.headers))
                    for m in batch
                    if m.offset < until[place]
                ]
            for place in list(until):
                if await consumer.position(place) >= until[place]:
                    del until[place]
    finally:
        await consumer.stop()
    for records in read.values():
        records.sort(key=lambda record: (record.partition, record.offset))
    return read
