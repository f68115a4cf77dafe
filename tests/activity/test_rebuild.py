"""The feed is made again from the log, and the log's gaps are filled from Kafka, while both are in use."""

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from sqlalchemy import text

from deploy.local.kafka import EmbeddedKafka
from deploy.local.postgres import EmbeddedPostgres
from deploy.topics import apply
from services.activity import rebuild as command
from services.activity import service_reads
from services.activity.consumers import SUBSCRIPTIONS
from services.activity.rebuild import rebuild
from services.activity.refill import refill
from services.activity.repository_filters import FeedFilters
from shared.db import SessionMaker
from shared.events.topics import COMPASS_SIGNALS, COMPASS_WORKFLOW, Topic
from shared.events.vocabulary import ActivityEventType
from shared.kafka import BatchProcessor
from tests.activity.events import event, example, messages
from tests.support.factories import message

TABLES = {
    "activity_events": "id",
    "feed_groups": "id",
    "known_assignments": "assignment_id",
    "feed_read_bits": "user_id, block",
    "audit_head": "singleton",
}


async def _record(committing: SessionMaker, *sent: dict[str, Any], topic: Topic = COMPASS_SIGNALS) -> None:
    group = next(found for found in SUBSCRIPTIONS if found.topic is topic)
    await BatchProcessor("activity", group, committing)(messages(*sent, topic=topic))


async def _everything(committing: SessionMaker) -> dict[str, list[tuple[Any, ...]]]:
    async with committing() as session:
        return {
            table: [tuple(row) for row in await session.execute(text(f"SELECT * FROM {table} ORDER BY {key}"))]  # noqa: S608
            for table, key in TABLES.items()
        }


@pytest.fixture
async def owner(postgres: EmbeddedPostgres, own_database: str) -> Any:
    """Who may do what the service may not."""
    connection = await asyncpg.connect(
        postgres.owner_url("activity", own_database), server_settings={"search_path": "activity"}
    )
    yield connection
    await connection.close()


@pytest.fixture
async def filled(committing: SessionMaker) -> SessionMaker:
    """A feed with bursts, assignments, events that are not shown, and what two users have read."""
    for start in range(0, 60, 20):
        await _record(
            committing,
            *(event(n * 7, feedtype=("new_signal", None, "regression")[n % 3]) for n in range(start, start + 20)),
        )
        assigned = example("compass.signal.assigned.v1") | {"id": str(uuid4()), "sequence": start // 20 + 1}
        await _record(committing, assigned, topic=COMPASS_WORKFLOW)
    async with committing() as session, session.begin():
        await session.execute(
            text("INSERT INTO feed_read_watermarks (user_id, position) VALUES (gen_random_uuid(), 10)")
        )
        await session.execute(
            text(
                "INSERT INTO feed_reads (user_id, event_id, position) "
                "SELECT '00000000-0000-0000-0000-000000000001', id, position FROM activity_events WHERE position = 20"
            )
        )
        await session.execute(text("UPDATE activity_events SET read = TRUE WHERE position <= 10 OR position = 20"))
        await session.execute(text("UPDATE feed_read_sweep SET position = 10"))
    return committing


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM activity_events",
        "DELETE FROM activity_events WHERE position % 3 = 1",
        "DELETE FROM activity_events WHERE position > 35",
        "UPDATE activity_events SET summary = 'forged', payload = '{}', group_id = NULL WHERE position % 2 = 0",
        "UPDATE activity_events SET event_type = 'comment', user_id = gen_random_uuid(), severity = 3",
        "DELETE FROM feed_groups; UPDATE known_assignments SET status = 'closed', sequence = 0",
        "UPDATE feed_groups SET event_count = event_count + 1, last_position = 1",
        "INSERT INTO feed_groups SELECT gen_random_uuid(), event_type, user_id, created_at, 1, first_at, last_at, 1, "
        "first_event_id, worst_event_id, 1 FROM feed_groups",
        "DELETE FROM activity_events WHERE position = 7; INSERT INTO activity_events (event_type, payload, created_at, "
        "position, source, subject, sequence, type) VALUES ('comment', '{}', now(), 7, 'x', gen_random_uuid(), 1, 'x')",
    ],
)
async def test_whatever_became_of_the_feed_it_is_as_it_was(
    filled: SessionMaker, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(command, "_PIECE", 7)
    before = await _everything(filled)
    await owner.execute(damage)
    assert await _everything(filled) != before
    changes = await rebuild(filled)
    assert await _everything(filled) == before
    assert changes.added == 0
    assert str(await rebuild(filled)).startswith("0 events put back, 0 mended, 0 dropped")


async def test_a_feed_type_that_has_become_known_is_shown_at_the_end(
    filled: SessionMaker, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await _everything(filled)
    # As if code that did not know regressions had recorded everything.
    unknown = await owner.fetchval("SELECT count(*) FROM activity_events WHERE event_type = 'regression'")
    await owner.execute("""
        DELETE FROM activity_events WHERE event_type = 'regression';
        UPDATE activity_events SET position = place - 1000
        FROM (SELECT id, row_number() OVER (ORDER BY position) AS place FROM activity_events) AS known
        WHERE known.id = activity_events.id;
        UPDATE activity_events SET position = position + 1000;
        UPDATE audit_head SET feed_position = (SELECT max(position) FROM activity_events)
    """)
    kept = await owner.fetch("SELECT id, position FROM activity_events ORDER BY position")
    changes = await rebuild(filled)
    assert (changes.put_back, changes.added) == (0, unknown)
    rows = await owner.fetch("SELECT id, position, event_type::text FROM activity_events ORDER BY position")
    assert [tuple(row)[:2] for row in rows[: len(kept)]] == [tuple(row) for row in kept]
    assert [row["position"] for row in rows] == list(range(1, len(before["activity_events"]) + 1))
    assert {row["event_type"] for row in rows[len(kept) :]} == {"regression"}
    assert await owner.fetchval("SELECT feed_position FROM audit_head") == len(rows)


async def test_it_runs_while_events_come_and_people_read(
    filled: SessionMaker, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_PIECE", 5)
    await owner.execute("UPDATE activity_events SET summary = 'forged' WHERE position % 2 = 0")
    await owner.execute("DELETE FROM activity_events WHERE position IN (3, 30)")
    shortest = await owner.fetchval("SELECT count(*) FROM activity_events")
    rebuilding = asyncio.create_task(rebuild(filled))
    n = 0
    while not rebuilding.done():
        await _record(filled, *(event(1000 + n) for _ in range(3)))
        async with filled() as session, session.begin():
            user = uuid4()
            some = await session.execute(text("SELECT id FROM activity_events ORDER BY position DESC"))
            assert (await service_reads.mark_some(session, user, list(some.scalars())[::2]))[0] > 0
            await service_reads.mark_all(session, user, FeedFilters(event_types=(ActivityEventType.NEW_SIGNAL,)), 2**40)
        assert await owner.fetchval("SELECT count(*) FROM activity_events") >= shortest
        n += 1
    await rebuilding
    shown = await owner.fetchval("SELECT array_agg(position ORDER BY position) FROM activity_events")
    assert shown == list(range(1, len(shown) + 1))
    assert await owner.fetchval("SELECT count(*) FROM audit_log WHERE feed_type IS NOT NULL") == len(shown)
    assert await owner.fetchval("SELECT count(*) FROM activity_events WHERE summary = 'forged'") == 0
    assert str(await rebuild(filled)).startswith("0 events put back, 0 mended, 0 dropped")


async def test_gaps_are_filled_from_kafka_and_nothing_is_stored_twice(
    kafka: EmbeddedKafka, committing: SessionMaker
) -> None:
    topic = Topic(f"refill-{uuid4().hex[:8]}", "subject", "any", ("activity",), None, "Of a test.", partitions=3)
    await apply(kafka.bootstrap_servers, [topic])
    subjects = [uuid4() for _ in range(40)]
    sent = [event(n, subject=subject, sequence=n + 1) for n in range(6) for subject in subjects]
    snapshot = event(9, subject=subjects[0], sequence=6, type="compass.signal.snapshot.v1")
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        for one in [*sent, *sent[:50], snapshot]:
            # Everything as the topic has it, twice in part, with a message that is no event in between.
            await producer.send(topic.name, message(topic, one).value, one["subject"].encode())
        await producer.send(topic.name, b"no event", b"key")
        await producer.flush()
    # The log has every second number of the first half, and nothing at all of the other half.
    group = SUBSCRIPTIONS[0]
    known = [one for one in sent if one["sequence"] % 2 == 0 and one["subject"] in {str(s) for s in subjects[:20]}]
    await BatchProcessor("activity", group, committing)(messages(*known))
    done = await refill(committing, kafka.bootstrap_servers, [topic.name])
    assert (done.read, done.stored, done.unreadable) == (292, 240 - 60 + 1, 1)
    assert done.still_missing == 0
    again = await refill(committing, kafka.bootstrap_servers, [topic.name])
    assert (again.stored, again.still_missing) == (0, 0)
    async with committing() as session:
        numbers = (
            "SELECT array_agg(sequence ORDER BY sequence) FROM audit_log WHERE type LIKE '%detected%' GROUP BY subject"
        )
        assert set(map(tuple, (await session.execute(text(numbers))).scalars())) == {(1, 2, 3, 4, 5, 6)}


async def test_an_empty_topic_fills_nothing(kafka: EmbeddedKafka, committing: SessionMaker) -> None:
    topic = Topic(f"refill-{uuid4().hex[:8]}", "subject", "any", ("activity",), None, "Of a test.", partitions=2)
    await apply(kafka.bootstrap_servers, [topic])
    done = await refill(committing, kafka.bootstrap_servers, [topic.name])
    assert (done.read, done.stored, done.still_missing) == (0, 0, 0)
