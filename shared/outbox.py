"""Publishing: an event is a row of the same transaction as the change that it tells of.

`shared.relay` takes the rows to Kafka. Nothing here flushes, commits or opens a transaction.
"""

import asyncio
import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db import raw_connection
from shared.events import envelope
from shared.events.envelope import Envelope, EventType
from shared.events.vocabulary import ActivityEventType
from shared.telemetry import Cause, current_cause

_encode: Final = msgspec.json.Encoder().encode

# Writing so many takes about a millisecond, in which requests would wait.
_EVENTS_BETWEEN_PAUSES: Final = 100

# COPY takes a round trip more than INSERT, and less of everything else for each row.
_COPY_FROM: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a service wants to tell, before it is an envelope.

    ``key`` orders the event among others on its topic (the entity's or user's id). ``sequence`` is given by producers
    that keep the number on the subject's own row, and for snapshots; for all others `publish` counts it. ``cause`` is
    that of the present request or message unless given. ``source`` overrides the type's, for `any` producer.
    """

    type: EventType
    subject: UUID
    key: UUID
    data: Struct
    summary: str | None = None
    feed_type: ActivityEventType | None = None
    actor_id: UUID | None = None
    sequence: int | None = None
    time: datetime | None = None
    cause: Cause | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        if self.feed_type is not None and self.feed_type not in self.type.feed_types:
            raise ValueError(f"{self.type.name} is never shown as {self.feed_type}")
        if self.type.snapshot and self.sequence is None:
            raise ValueError(f"{self.type.name} repeats a state: it takes the sequence of the subject's last event")


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message that is no event of ours: a dead letter, a replay. It goes out exactly as it is."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


_COUNT = text(
    """
    INSERT INTO event_sequences AS s (subject, last)
    SELECT * FROM unnest(CAST(:subjects AS uuid[]), CAST(:counts AS integer[]))
    ON CONFLICT (subject) DO UPDATE SET last = s.last + excluded.last
    RETURNING subject, last
    """
)

_INSERT = text(
    """
    INSERT INTO outbox (topic, key, value, headers)
    SELECT topic, key, value, CAST(headers AS jsonb)
    FROM unnest(CAST(:topics AS text[]), CAST(:keys AS bytea[]), CAST(:values AS bytea[]), CAST(:headers AS text[]))
        WITH ORDINALITY AS message (topic, key, value, headers, place)
    ORDER BY place
    """
)


async def publish(session: AsyncSession, *events: Event) -> None:
    """Add events to the outbox, in this order, in the session's transaction.

    The caller holds a lock on each subject's row (or has just inserted it), so that the numbers and the outbox order
    of one subject follow the order of commit.
    """
    if not events:
        return
    sequences = await _count(session, [event.subject for event in events if event.sequence is None])
    rows: list[tuple[str, bytes, bytes]] = []
    for number, event in enumerate(events, 1):
        if number % _EVENTS_BETWEEN_PAUSES == 0:
            await asyncio.sleep(0)
        sequence = event.sequence
        if sequence is None:
            sequence = sequences[event.subject]
            sequences[event.subject] += 1
        value = envelope.encode(_envelope(event, sequence))
        rows.append((event.type.topic.name, str(event.key).encode(), value))
    if len(rows) >= _COPY_FROM:
        connection = await raw_connection(session)
        await connection.copy_records_to_table("outbox", records=rows, columns=("topic", "key", "value"))
    else:
        topics, keys, values = zip(*rows, strict=True)
        await _insert(session, topics, keys, values, [None] * len(rows))


async def publish_raw(session: AsyncSession, messages: Iterable[RawMessage]) -> None:
    """Add messages to the outbox byte for byte, in the session's transaction."""
    rows = list(messages)
    if rows:
        await _insert(
            session,
            [row.topic for row in rows],
            [row.key for row in rows],
            [row.value for row in rows],
            [encode_headers(row.headers) for row in rows],
        )


async def _count(session: AsyncSession, subjects: list[UUID]) -> dict[UUID, int]:
    """The next sequence number of each subject, after reserving as many as the list names it."""
    if not subjects:
        return {}
    # Sorted, so that two transactions lock the subjects that they share in the same order.
    counts = sorted(Counter(subjects).items())
    result = await session.execute(
        _COUNT, {"subjects": [subject for subject, _ in counts], "counts": [count for _, count in counts]}
    )
    reserved = dict(counts)
    return {subject: last - reserved[subject] + 1 for subject, last in result}


async def _insert(
    session: AsyncSession,
    topics: Sequence[str],
    keys: Sequence[bytes | None],
    values: Sequence[bytes | None],
    headers: Sequence[str | None],
) -> None:
    await session.execute(
        _INSERT, {"topics": list(topics), "keys": list(keys), "values": list(values), "headers": list(headers)}
    )


def _envelope(event: Event, sequence: int) -> Envelope:
    cause = event.cause or current_cause()
    return Envelope(
        specversion=envelope.SPEC_VERSION,
        id=uuid4(),
        source=event.source or event.type.source,
        type=event.type.name,
        subject=event.subject,
        time=event.time or datetime.now(UTC),
        datacontenttype="application/json",
        dataschema=event.type.dataschema,
        sequence=sequence,
        data=msgspec.Raw(_encode(event.data)),
        actorid=event.actor_id,
        correlationid=cause.correlation_id,
        traceparent=cause.traceparent,
        feedtype=event.feed_type,
        summary=event.summary,
    )


def encode_headers(headers: Sequence[tuple[str, bytes | None]]) -> str:
    """Kafka headers as JSON text; values are bytes of any kind, so they travel as base64."""
    pairs = [(name, None if value is None else base64.b64encode(value).decode()) for name, value in headers]
    return _encode(pairs).decode()


def decode_headers(headers: Sequence[tuple[str, str | None]]) -> list[tuple[str, bytes | None]]:
    """The inverse of `encode_headers`, from the decoded JSON."""
    return [(name, None if value is None else base64.b64decode(value)) for name, value in headers]
