"""Judges of what is there after a load at rest: each finds what must not be about some signals, in words.

They look at these signals only, so that they judge on a stack that other tests have used as well.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import Final
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.jobs import run_job
from deploy.local.service import module_command
from deploy.local.stack import LocalStack
from shared.events import envelope
from shared.events.envelope import Envelope
from shared.events.topics import COMPASS_SIGNALS, COMPASS_WORKFLOW

Places = Mapping[TopicPartition, int]

_MOST: Final = 5

_QUERIES: Final = {
    "lost: a signal that is not stored": """
        SELECT id FROM unnest($1::uuid[]) AS id WHERE id NOT IN (SELECT id FROM signals.signals)
    """,
    "waiting: an outbox that is not empty": """
        SELECT * FROM (
            SELECT 'signals', count(*) FROM signals.outbox UNION ALL SELECT 'workflow', count(*) FROM workflow.outbox
            UNION ALL SELECT 'activity', count(*) FROM activity.outbox
            UNION ALL SELECT 'auth', count(*) FROM auth.outbox
        ) AS waiting (service, rows) WHERE rows > 0 AND cardinality($1::uuid[]) > 0
    """,
    "order: numbers that are not 1, 2, 3 as they were recorded": """
        SELECT source, subject, sequence, place FROM (
            SELECT source, subject, sequence,
                row_number() OVER (PARTITION BY source, subject ORDER BY position) AS place
            FROM activity.audit_log
            WHERE subject = ANY($1) AND snapshot_id = '00000000-0000-0000-0000-000000000000'
        ) AS numbered WHERE sequence <> place
    """,
    "doubled: an event that is recorded twice": """
        SELECT event_id, count(*) FROM activity.audit_log WHERE subject = ANY($1) GROUP BY event_id HAVING count(*) > 1
    """,
    "gap: numbers that the activity service waits for": """
        SELECT source, subject, first, last FROM activity.sequence_gaps WHERE subject = ANY($1)
    """,
    "lost: a signal's last event is not recorded": """
        SELECT s.id, s.event_sequence, max(a.sequence) FROM signals.signals AS s
        LEFT JOIN activity.audit_log AS a ON a.subject = s.id AND a.source = '/services/signals'
        WHERE s.id = ANY($1) GROUP BY s.id, s.event_sequence HAVING max(a.sequence) IS DISTINCT FROM s.event_sequence
    """,
    "feed: what the audit log says is to be shown and what is shown": """
        SELECT a.event_id, f.id, a.feed_type, f.event_type FROM (
            SELECT * FROM activity.audit_log WHERE subject = ANY($1) AND feed_type IS NOT NULL
        ) AS a FULL JOIN (SELECT * FROM activity.activity_events WHERE subject = ANY($1)) AS f
            ON f.id = a.event_id AND f.event_type::text = a.feed_type AND f.sequence = a.sequence
        WHERE a.event_id IS NULL OR f.id IS NULL
    """,
    "copy: workflow knows a signal otherwise": """
        SELECT s.id, k.sequence, s.event_sequence FROM signals.signals AS s
        LEFT JOIN workflow.known_signals AS k ON k.signal_id = s.id
        WHERE s.id = ANY($1) AND ROW(
            k.entity_id, k.detected_at, k.is_current, k.description, k.metric_value, k.signal_type, k.severity,
            k.magnitude_tier::text, k.sequence
        ) IS DISTINCT FROM ROW(
            s.entity_id, s.detected_at, s.is_current, s.description, s.metric_value, s.simplified_signal_type,
            s.simplified_severity, s.magnitude_tier::text, s.event_sequence
        )
    """,
    "copy: signals knows the work otherwise": """
        SELECT s.id, s.workflow_status, a.status FROM signals.signals AS s
        LEFT JOIN workflow.assignments AS a ON a.signal_id = s.id
        WHERE s.id = ANY($1) AND ROW(s.workflow_status::text, s.assignment_id, s.assignee_id)
            IS DISTINCT FROM ROW(coalesce(a.status::text, 'new'), a.id, a.assignee_id)
    """,
    "copy: activity knows the work otherwise": """
        SELECT a.signal_id, a.status, k.status FROM workflow.assignments AS a
        LEFT JOIN activity.known_assignments AS k ON k.assignment_id = a.id
        WHERE a.signal_id = ANY($1) AND ROW(k.signal_id, k.status, k.assignee_id)
            IS DISTINCT FROM ROW(a.signal_id, a.status::text, a.assignee_id)
    """,
    "history: lines of history and events about them": """
        SELECT h.signal_id, h.lines, e.events FROM (
            SELECT signal_id, count(*) AS lines FROM workflow.assignment_transitions
            WHERE signal_id = ANY($1) GROUP BY signal_id
        ) AS h FULL JOIN (
            SELECT subject, count(*) AS events FROM activity.audit_log
            WHERE subject = ANY($1) AND type IN ('compass.signal.assigned.v1', 'compass.status.changed.v1')
            GROUP BY subject
        ) AS e ON e.subject = h.signal_id
        WHERE h.lines IS DISTINCT FROM e.events
    """,
    "comments: comments and events about them": """
        SELECT c.id, e.comment FROM (SELECT id FROM workflow.comments WHERE signal_id = ANY($1)) AS c
        FULL JOIN (
            SELECT (envelope->'data'->>'comment_id')::uuid AS comment FROM activity.audit_log
            WHERE subject = ANY($1) AND type = 'compass.comment.added.v1'
        ) AS e ON e.comment = c.id
        WHERE c.id IS NULL OR e.comment IS NULL
    """,
}


async def complaints(stack: LocalStack, signals: Collection[UUID]) -> list[str]:
    """What the tables say that must not be, about these signals; a few of each kind."""
    connection = await asyncpg.connect(stack.postgres.admin_url)
    try:
        # One moment for all of them: what is at rest must agree with itself.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return [
                f"{what}: {tuple(row)}"
                for what, query in _QUERIES.items()
                for row in await connection.fetch(f"{query} LIMIT {_MOST}", list(signals))
            ]
    finally:
        await connection.close()


async def run_command(stack: LocalStack, service: str, command: str) -> str:
    """Run one of a service's commands as an operator does; answers what it says, and fails where it fails."""
    module = [*module_command(service)[:-1], f"services.{service}.{command}"]
    log = stack.settings.local_dir / "logs" / "jobs.log"
    return await asyncio.to_thread(run_job, command, module, stack.service_environment(service), log)


async def chain_is_sound(stack: LocalStack) -> bool:
    """Whether the command that verifies the audit log's hashes is content; it fails where it is not."""
    return "rows are as they were written" in await run_command(stack, "activity", "verify")


async def ends(stack: LocalStack) -> Places:
    """Where the topics with the signals' events end now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka.bootstrap_servers)
    async with consumer:
        found: Places = await consumer.end_offsets(_places())
        return found


async def topic_complaints(stack: LocalStack, signals: Collection[UUID], begin: Places, calm: Places) -> list[str]:
    """What the topics say that must not be, of the messages about these signals from `begin` on.

    A relay that dies may have sent what it could not delete any more: its successor sends the same events again, in
    the same order, and consumers know them. From `calm` on, when nobody died, nothing comes twice.
    """
    return list(
        judge_events([event async for event in _read(stack, begin, await ends(stack))], frozenset(signals), calm)
    )


def judge_events(
    events: list[tuple[TopicPartition, int, Envelope]], signals: frozenset[UUID], calm: Places
) -> Iterator[str]:
    """What must not be among events that were read in the order of each partition."""
    reached: Counter[tuple[str, UUID]] = Counter()
    ids: dict[tuple[str, UUID, int], UUID] = {}
    partitions: dict[tuple[str, UUID], TopicPartition] = {}
    for place, offset, event in events:
        subject = (event.source, event.subject)
        if event.subject not in signals:
            continue
        if partitions.setdefault(subject, place) != place:
            yield f"partition: {subject} is in {partitions[subject]} and in {place}"
        if event.sequence > reached[subject] + 1:
            yield f"order: {subject} has {event.sequence} after {reached[subject]} in {place}"
        if event.sequence <= reached[subject] and offset >= calm[place]:
            yield f"doubled: {subject} has {event.sequence} again in {place}, though nobody died"
        if ids.setdefault((*subject, event.sequence), event.id) != event.id:
            yield f"doubled: {subject} has two events with the number {event.sequence}"
        reached[subject] = max(reached[subject], event.sequence)


def _places() -> list[TopicPartition]:
    return [
        TopicPartition(topic.name, number)
        for topic in (COMPASS_SIGNALS, COMPASS_WORKFLOW)
        for number in range(topic.partitions)
    ]


async def _read(stack: LocalStack, begin: Places, end: Places) -> AsyncIterator[tuple[TopicPartition, int, Envelope]]:
    """Every event between two moments; those of a partition in their order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka.bootstrap_servers, enable_auto_commit=False)
    async with consumer:
        waiting = {place for place in _places() if begin[place] < end[place]}
        consumer.assign(list(waiting))
        for place in waiting:
            consumer.seek(place, begin[place])
        while waiting:
            for place, messages in (await consumer.getmany(timeout_ms=1000)).items():
                for message in messages:
                    if message.offset < end[place]:
                        yield place, message.offset, envelope.decode(message.value)
            waiting = {place for place in waiting if await consumer.position(place) < end[place]}
