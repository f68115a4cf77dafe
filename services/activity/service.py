"""How an event is recorded: whole, once, in the audit log, and in the feed where its producer says so.

Only the envelope is read. A new event type, of whatever producer, needs no change here.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Final

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity import repository_audit as audit
from services.activity.repository_audit import FEED_TYPES, AuditRow
from services.activity.sequences import Received, Subject
from shared.events import envelope
from shared.events.decoding import RejectedMessageError, decode_object
from shared.inbox import Message
from shared.telemetry import logger

AUDITED: Final = Counter("compass_activity_audited_total", "Events added to the audit log.", ("topic",))
DUPLICATES: Final = Counter("compass_activity_duplicates_total", "Events that the audit log already had.", ("topic",))
SNAPSHOTS: Final = Counter(
    "compass_activity_snapshots_total", "Snapshots passed over: they repeat what events have told.", ("topic",)
)
UNKNOWN_FEED_TYPES: Final = Counter(
    "compass_activity_unknown_feed_types_total", "Events audited but not shown: their feed type is unknown here."
)

_SNAPSHOT: Final = re.compile(r".+\.snapshot\.v\d+")
_LONGEST_NAME: Final = 255


def read(message: Message) -> AuditRow | None:
    """What is recorded of a message; None for a snapshot.

    A snapshot repeats a subject's state under the sequence of its last event, for consumers that came late. It is
    nothing that happened, so the log of what happened does not have it.

    Raises:
        RejectedMessageError: for a message that is no event, or one that PostgreSQL could not store.
    """
    # The envelope leaves `data` undecoded, and PostgreSQL would refuse the whole batch for what this refuses by itself.
    decode_object(message.value)
    event = envelope.decode(message.value)
    for attribute, value in (("source", event.source), ("type", event.type)):
        if len(value) > _LONGEST_NAME:
            detail = f"`{attribute}` has {len(value)} characters; at most {_LONGEST_NAME} are stored."
            raise RejectedMessageError("invalid_field", detail)
    try:
        event.time.astimezone(UTC)
    except OverflowError:
        raise RejectedMessageError("invalid_field", "`time` lies outside of the years 1 to 9999 of UTC.") from None
    if _SNAPSHOT.fullmatch(event.type):
        SNAPSHOTS.labels(message.topic).inc()
        return None
    return AuditRow(
        event_id=event.id,
        topic=message.topic,
        subject=Subject(event.source, event.subject),
        sequence=event.sequence,
        type=event.type,
        time=event.time,
        actor_id=event.actorid,
        feed_type=event.feedtype,
        envelope=(message.value or b"").decode(),
    )


async def record(session: AsyncSession, rows: Sequence[AuditRow]) -> None:
    """Add the events that the log does not have yet, in this order.

    What has come is decided under the lock that every writer takes, from the log itself: exact whoever else writes.
    """
    if not rows:
        return
    head = await audit.lock_head(session)
    fresh = await _take(session, rows)
    if fresh:
        await audit.append(session, head, fresh)
    _count(rows, fresh)


async def _take(session: AsyncSession, rows: Sequence[AuditRow]) -> list[AuditRow]:
    """The rows that are new, after storing what gaps they open and close."""
    subjects = {row.subject for row in rows}
    last = await audit.last_sequences(session, subjects)
    # Only a number below the last one can fall into a gap, so that events in order never ask for gaps.
    behind = {row.subject for row in rows if row.sequence <= last.get(row.subject, 0)}
    gaps = await audit.open_gaps(session, behind) if behind else {}
    received = {subject: Received(last.get(subject, 0), list(gaps.get(subject, ()))) for subject in subjects}
    fresh = [row for row in rows if received[row.subject].take(row.sequence)]
    await audit.change_gaps(session, gaps, {subject: state.gaps for subject, state in received.items()})
    return fresh


def _count(rows: Sequence[AuditRow], fresh: Sequence[AuditRow]) -> None:
    topic = rows[0].topic
    AUDITED.labels(topic).inc(len(fresh))
    DUPLICATES.labels(topic).inc(len(rows) - len(fresh))
    for row in _unknown(fresh):
        UNKNOWN_FEED_TYPES.inc()
        logger.warning("unknown feed type, audited only", type=row.type, feed_type=row.feed_type)


def _unknown(rows: Iterable[AuditRow]) -> Iterable[AuditRow]:
    return (row for row in rows if row.feed_type is not None and row.feed_type not in FEED_TYPES)
