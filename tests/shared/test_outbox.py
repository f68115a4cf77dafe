"""Publishing in a transaction: rows, numbers, order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared import outbox
from shared.db import SessionMaker
from shared.events import envelope
from shared.events.auth import LOGIN_FAILED, LoginFailed
from shared.events.signals import METRIC_SNAPSHOT, MetricChanged
from shared.events.vocabulary import ActivityEventType, MetricPolarity
from shared.telemetry import Cause, set_cause

Query = Callable[..., Awaitable[list[Any]]]


def event(subject: UUID, **more: Any) -> outbox.Event:
    data = LoginFailed(known_user=True, reason="password", address=None)
    return outbox.Event(type=LOGIN_FAILED, subject=subject, key=subject, data=data, **more)


async def stored(query: Query) -> list[envelope.Envelope]:
    return [envelope.decode(bytes(row.value)) for row in await query("SELECT value FROM outbox ORDER BY id")]


async def test_numbers_count_per_subject_in_the_order_given(session_maker: SessionMaker, query: Query) -> None:
    one, two = uuid4(), uuid4()
    async with session_maker() as session, session.begin():
        await outbox.publish(session, event(one), event(two), event(one))
        await outbox.publish(session, event(one))
    assert [(seen.subject, seen.sequence) for seen in await stored(query)] == [(one, 1), (two, 1), (one, 2), (one, 3)]


async def test_a_rollback_takes_events_and_numbers_with_it(session_maker: SessionMaker, query: Query) -> None:
    subject = uuid4()
    async with session_maker() as session:
        await outbox.publish(session, event(subject))
        await session.rollback()
    async with session_maker() as session, session.begin():
        await outbox.publish(session, event(subject))
    assert [seen.sequence for seen in await stored(query)] == [1]


async def test_concurrent_publishers_leave_no_gap_and_keep_the_order(session_maker: SessionMaker, query: Query) -> None:
    subjects = [uuid4() for _ in range(3)]

    async def publish(start: int) -> None:
        for turn in range(10):
            async with session_maker() as session, session.begin():
                order = [subjects[(start + turn + step) % 3] for step in range(3)]
                await outbox.publish(session, *(event(subject) for subject in order))

    await asyncio.gather(*(publish(start) for start in range(6)))
    events = await stored(query)
    for subject in subjects:
        assert [seen.sequence for seen in events if seen.subject == subject] == list(range(1, 61))


async def test_the_envelope_tells_the_cause(session_maker: SessionMaker, query: Query) -> None:
    set_cause(Cause("request-1", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"))
    actor = uuid4()
    async with session_maker() as session, session.begin():
        await outbox.publish(session, event(uuid4(), actor_id=actor))
    (seen,) = await stored(query)
    assert (seen.correlationid, seen.actorid) == ("request-1", actor)
    assert seen.traceparent == "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    assert seen.dataschema == "urn:quality-compass:login.failed.v1"


def test_an_event_is_shown_only_as_its_type_allows() -> None:
    with pytest.raises(ValueError, match="never shown as comment"):
        event(uuid4(), feed_type=ActivityEventType.COMMENT)


def test_a_snapshot_takes_no_new_number() -> None:
    data = MetricChanged(
        metric_id="m",
        display_name="M",
        domain=None,
        unit=None,
        polarity=MetricPolarity.LOWER_IS_BETTER,
        target_range=None,
    )
    with pytest.raises(ValueError, match="repeats a state"):
        outbox.Event(type=METRIC_SNAPSHOT, subject=uuid4(), key=uuid4(), data=data)


async def test_raw_messages_keep_every_byte(session_maker: SessionMaker, query: Query) -> None:
    headers = [("a", b"\xff\x00"), ("null", None), ("a", b"again")]
    async with session_maker() as session, session.begin():
        await outbox.publish_raw(session, [outbox.RawMessage("topic", None, None, headers)])
    (row,) = await query("SELECT topic, key, value, headers FROM outbox")
    assert (row.topic, row.key, row.value) == ("topic", None, None)
    assert outbox.decode_headers(row.headers) == headers
