"""Every event is recorded once, whole and in order, whatever it is; what cannot be recorded holds nothing up."""

import asyncio
import json
import random
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from faststream.kafka import TestKafkaBroker

from services.activity.consumers import SUBSCRIPTIONS
from shared.db import SessionMaker
from shared.events import registry
from shared.events.envelope import EventType
from shared.events.topics import COMPASS_OPERATIONS, COMPASS_SIGNALS, COMPASS_WORKFLOW
from shared.kafka import BatchProcessor, create_broker
from shared.telemetry import CONSUMER_RETRIES
from tests.activity.events import GROUPS, event, example, messages, without
from tests.support.factories import message
from tests.support.service import ServiceUnderTest

HAPPENED = [kind for kind in registry.ALL if not kind.snapshot]
SNAPSHOTS = [kind for kind in registry.ALL if kind.snapshot]


async def audit(service: ServiceUnderTest) -> list[dict[str, Any]]:
    return await service.rows("SELECT * FROM audit_log ORDER BY position")


async def shown(service: ServiceUnderTest) -> list[dict[str, Any]]:
    return await service.rows("SELECT * FROM activity_events ORDER BY position")


@pytest.mark.parametrize("kind", HAPPENED, ids=lambda kind: kind.name)
async def test_every_event_is_audited_and_shown_if_it_has_a_feed_type(
    service: ServiceUnderTest, kind: EventType
) -> None:
    sent = example(kind.name)
    await service.consume(GROUPS[kind.topic.name], message(kind.topic, sent))

    (row,) = await audit(service)
    assert row["envelope"] == sent
    assert (str(row["event_id"]), row["type"], row["topic"]) == (sent["id"], kind.name, kind.topic.name)
    assert (str(row["subject"]), row["sequence"]) == (sent["subject"], sent["sequence"])
    feed = await shown(service)
    assert len(feed) == (1 if "feedtype" in sent else 0)
    for entry in feed:
        assert (str(entry["id"]), entry["event_type"]) == (sent["id"], sent["feedtype"])
        assert (entry["payload"], entry["summary"]) == (sent["data"], sent["summary"])
        assert entry["user_id"] is None or str(entry["user_id"]) == sent["actorid"]
        concerns_signal = kind.topic is not COMPASS_OPERATIONS
        assert entry["signal_id"] == (row["subject"] if concerns_signal else None)


@pytest.mark.parametrize("kind", SNAPSHOTS, ids=lambda kind: kind.name)
async def test_a_snapshot_is_audited_and_is_no_event(service: ServiceUnderTest, kind: EventType) -> None:
    sent = example(kind.name) | {"sequence": 2}
    group = GROUPS[kind.topic.name]

    def told(sequence: int) -> dict[str, Any]:
        return event(subject=sent["subject"], source=sent["source"], sequence=sequence, feedtype=None)

    await service.consume(group, message(kind.topic, sent))
    # Before its event has come, beside it, twice in one batch and again: it opens no gap and takes no event's place.
    await service.consume(group, message(kind.topic, sent), message(kind.topic, sent), message(kind.topic, told(1)))
    await service.consume(group, message(kind.topic, told(2)), message(kind.topic, told(3)), message(kind.topic, sent))
    rows = await audit(service)
    assert [(row["type"], row["sequence"]) for row in rows] == [
        (kind.name, 2),
        *(("compass.signal.detected.v1", sequence) for sequence in (1, 2, 3)),
    ]
    assert rows[0]["envelope"] == sent
    assert await service.rows("SELECT 1 FROM sequence_gaps") == []
    assert await shown(service) == []
    assert await service.dead_letters() == []


async def test_a_snapshot_with_a_feed_type_is_not_shown(service: ServiceUnderTest) -> None:
    sent = event(type="compass.signal.snapshot.v1")
    await service.consume("activity.signals", *messages(sent))
    assert await shown(service) == []
    assert await service.rows("SELECT 1 FROM feed_groups") == []


async def test_an_event_type_that_nobody_knew_is_stored_audited_and_shown(service: ServiceUnderTest) -> None:
    sent = event(type="compass.playbook.finished.v7", source="/services/playbooks", feedtype="comment", more="new")
    await service.consume("activity.workflow", *messages(sent, topic=COMPASS_WORKFLOW))
    (row,), (entry,) = await audit(service), await shown(service)
    assert row["envelope"] == sent
    assert (entry["event_type"], entry["summary"]) == ("comment", "Event 0.")


async def test_an_unknown_feed_type_is_audited_only(service: ServiceUnderTest) -> None:
    await service.consume("activity.signals", *messages(event(feedtype="applause"), event(1)))
    assert [row["feed_type"] for row in await audit(service)] == ["applause", "new_signal"]
    # Positions of the feed have no hole where the audit log has an event that is not shown.
    assert [(row["position"], row["summary"]) for row in await shown(service)] == [(1, "Event 1.")]


async def test_positions_follow_the_order_of_arrival_and_gaps_close_by_themselves(service: ServiceUnderTest) -> None:
    subject = uuid4()
    order = [1, 4, 2, 4, 6]
    sent = [event(n, subject=subject, sequence=n) for n in order]
    for part in (sent[:2], sent[2:]):
        await service.consume("activity.signals", *messages(*part))

    async def gaps() -> list[tuple[int, int]]:
        return [(row["first"], row["last"]) for row in await service.rows("SELECT * FROM sequence_gaps ORDER BY first")]

    assert [row["sequence"] for row in await audit(service)] == [1, 4, 2, 6]
    assert await gaps() == [(3, 3), (5, 5)]
    await service.consume("activity.signals", *messages(*(event(n, subject=subject, sequence=n) for n in (5, 3, 3))))
    assert await gaps() == []
    rows = await audit(service)
    assert [row["sequence"] for row in rows] == [1, 4, 2, 6, 5, 3]
    assert [row["position"] for row in rows] == [1, 2, 3, 4, 5, 6]


async def test_the_same_number_of_another_source_is_another_event(service: ServiceUnderTest) -> None:
    subject = uuid4()
    await service.consume("activity.signals", *messages(event(subject=subject)))
    await service.consume(
        "activity.workflow", *messages(event(subject=subject, source="/services/workflow"), topic=COMPASS_WORKFLOW)
    )
    assert len(await audit(service)) == 2


REFUSED = {
    "not JSON": (b"{", "invalid_json"),
    "invalid UTF-8 in data": (json.dumps(event(data={"a": "QQ"})).encode().replace(b"QQ", b"\xff"), "invalid_utf8"),
    "NUL in data": (json.dumps(event(data={"a": "\0"})).encode(), "nul_character"),
    "NUL in the summary": (json.dumps(event(summary="\0")).encode(), "nul_character"),
    "lone surrogate in data": (json.dumps(event(data={"a": "\ud800"})).encode(), "invalid_unicode"),
    "1e999 in data": (json.dumps(event(data={"a": 777})).encode().replace(b"777", b"1e999"), "number_out_of_range"),
    "NaN in data": (json.dumps(event(data={"a": float("nan")})).encode(), "invalid_json"),
    "data nested 10,000 deep": (
        json.dumps(event(data=777)).encode().replace(b"777", b"[" * 10_000 + b"]" * 10_000),
        "invalid_json",
    ),
    "duplicate key in data": (
        json.dumps(event(data={"a": 1})).encode().replace(b'"a"', b'"a": 2, "a"'),
        "duplicate_key",
    ),
    "null value": (None, "empty_message"),
    "no source": (json.dumps(without("source", event())).encode(), "invalid_field"),
    "a source too long to be one": (json.dumps(event(source="x" * 3000)).encode(), "invalid_field"),
    "a type too long to be one": (json.dumps(event(type="x" * 256)).encode(), "invalid_field"),
    "time without offset": (json.dumps(event(time="2026-07-01T09:00:00")).encode(), "invalid_field"),
    "a time before the years of UTC": (json.dumps(event(time="0001-01-01T00:00:00+14:00")).encode(), "invalid_field"),
    "sequence 0": (json.dumps(event(sequence=0)).encode(), "invalid_field"),
    "sequence of 40 bits": (json.dumps(event(sequence=2**40)).encode(), "invalid_field"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_recorded_is_dead_lettered_and_holds_nothing_up(
    service: ServiceUnderTest, name: str
) -> None:
    bad, code = REFUSED[name]
    headers = [("odd", None), ("bytes", b"\xff\x00")]
    await service.consume(
        "activity.signals",
        *messages(event(1)),
        message(COMPASS_SIGNALS, bad, headers=headers),
        *messages(event(2)),
    )
    (letter,) = await service.dead_letters()
    assert (letter["code"], letter["value"], letter["consumer_group"]) == (code, bad, "activity.signals")
    assert [row["summary"] for row in await shown(service)] == ["Event 1.", "Event 2."]
    (told,) = await service.events("message.rejected")
    assert told.source == "/services/activity"


async def test_what_only_the_database_refuses_is_found_and_dead_lettered(service: ServiceUnderTest) -> None:
    """A second event under an id that the feed has: no producer of ours does it, and it must not block the others."""
    first = event(1)
    await service.consume("activity.signals", *messages(first, event(2, id=first["id"]), event(3)))
    (letter,) = await service.dead_letters()
    assert letter["code"] == "processing_failed"
    assert [row["summary"] for row in await shown(service)] == ["Event 1.", "Event 3."]
    assert [row["position"] for row in await audit(service)] == [1, 2]


async def test_two_writers_that_get_the_same_events_doubled_and_out_of_order_store_each_once(
    committing: SessionMaker,
) -> None:
    """Two instances with real transactions, each fed all events of 40 subjects, doubled, in an order of its own."""
    subjects = [uuid4() for _ in range(40)]
    events = [event(n, subject=subject, sequence=n) for subject in subjects for n in range(1, 26)]
    seed = random.Random(20260701)  # noqa: S311 - the same order in every run

    async def instance(group: str, partition: int) -> None:
        # Under a group and partition of its own, so that the inbox keeps nothing from the second one.
        subscription = next(found for found in SUBSCRIPTIONS if found.group == group)
        process = BatchProcessor("activity", subscription, committing)
        mine = messages(*seed.sample(events * 2, len(events) * 2), topic=subscription.topic, partition=partition)
        for start in range(0, len(mine), 97):
            await process(mine[start : start + 97])

    def retries() -> float:
        return sum(sample.value for metric in CONSUMER_RETRIES.collect() for sample in metric.samples)

    before = retries()
    await asyncio.gather(instance("activity.signals", 1), instance("activity.workflow", 2))
    # They waited for each other: no batch ran into what the other one stored and had to begin again.
    assert retries() == before
    async with committing() as session:
        connection = await session.connection()
        rows = (
            await connection.exec_driver_sql(
                "SELECT position, subject, sequence, previous_hash, hash FROM audit_log ORDER BY position"
            )
        ).all()
        feed = (await connection.exec_driver_sql("SELECT position FROM activity_events ORDER BY position")).all()
        gaps = (await connection.exec_driver_sql("SELECT count(*) FROM sequence_gaps")).scalar_one()
        dead = (await connection.exec_driver_sql("SELECT count(*) FROM dead_letters")).scalar_one()
    assert [row.position for row in rows] == list(range(1, 1001))
    assert [row.position for row in feed] == list(range(1, 1001))
    assert {(row.subject, row.sequence) for row in rows} == {(s, n) for s in subjects for n in range(1, 26)}
    assert all(row.previous_hash == before.hash for before, row in pairwise(rows))
    assert (gaps, dead) == (0, 0)


async def test_the_service_subscribes_to_every_topic_between_services(service: ServiceUnderTest) -> None:
    recording = {found.topic.name for found in SUBSCRIPTIONS if found.group in GROUPS.values()}
    assert recording == {kind.topic.name for kind in registry.ALL}
    assert "activity.access" in {found.group for found in SUBSCRIPTIONS}


async def test_a_batch_from_kafka_reaches_the_tables(committing: SessionMaker, service: ServiceUnderTest) -> None:
    subscription = SUBSCRIPTIONS[0]
    process = BatchProcessor("activity", subscription, committing)
    broker = create_broker(service.settings, subscription, process)
    async with TestKafkaBroker(broker) as running:
        await running.publish_batch(json.dumps(event()).encode(), topic=COMPASS_SIGNALS.name)
    async with committing() as session:
        connection = await session.connection()
        assert (await connection.exec_driver_sql("SELECT count(*) FROM audit_log")).scalar_one() == 1
