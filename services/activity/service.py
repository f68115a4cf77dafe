"""How an event is recorded: whole, once, in the audit log, and in the feed where its producer says so.

Only the envelope is read. A new event type, of whatever producer, needs no change here.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Final

from fastapi import FastAPI
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity import repository_audit as audit
from services.activity import repository_groups as groups
from services.activity.repository_audit import AuditRow
from services.activity.repository_groups import FEED_TYPES
from services.activity.sequences import Received, Subject
from shared.db import SessionMaker
from shared.events import envelope
from shared.events.decoding import RejectedMessageError, decode_object
from shared.inbox import Message
from shared.supervision import look_again
from shared.telemetry import logger

AUDITED: Final = Counter("compass_activity_audited_total", "Events added to the audit log.", ("topic",))
DUPLICATES: Final = Counter("compass_activity_duplicates_total", "Events that the audit log already had.", ("topic",))
SNAPSHOTS: Final = Counter(
    "compass_activity_snapshots_total", "Snapshots that came: they repeat what events have told.", ("topic",)
)
UNKNOWN_FEED_TYPES: Final = Counter(
    "compass_activity_unknown_feed_types_total", "Events audited but not shown: their feed type is unknown here."
)

_SNAPSHOT: Final = re.compile(r".+\.snapshot\.v[0-9]+")
_LONGEST_NAME: Final = 255
_GROUPED_AT_ONCE: Final = 2000
_LOOK_SECONDS: Final = 5.0


def read(message: Message) -> AuditRow:
    """What is recorded of a message.

    A snapshot repeats a subject's state under the sequence of its last event, for consumers that came late. It is
    recorded as what it is; the feed does not show it, whatever feed type it has.

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
    is_snapshot = _SNAPSHOT.fullmatch(event.type) is not None
    if is_snapshot:
        SNAPSHOTS.labels(message.topic).inc()
    return AuditRow(
        event_id=event.id,
        topic=message.topic,
        subject=Subject(event.source, event.subject),
        sequence=event.sequence,
        type=event.type,
        time=event.time,
        actor_id=event.actorid,
        feed_type=None if is_snapshot else event.feedtype,
        envelope=(message.value or b"").decode(),
        is_snapshot=is_snapshot,
    )


async def record(session: AsyncSession, rows: Sequence[AuditRow]) -> int:
    """Add the events that the log does not have yet, in this order; answers how many.

    What has come is decided under the lock that every writer takes, from the log itself: exact whoever else writes.
    """
    if not rows:
        return 0
    head = await audit.lock_head(session)
    fresh = await _take(session, rows)
    if fresh:
        await audit.append(session, head, fresh)
    _count(rows, fresh)
    return len(fresh)


async def _take(session: AsyncSession, rows: Sequence[AuditRow]) -> list[AuditRow]:
    """The rows that are new, in their order, after storing what gaps they open and close.

    A snapshot follows the event that it repeats: of the same number, the later one is what is so.
    """
    fresh = await _new_snapshots(session, [row for row in rows if row.is_snapshot])
    if events := [row for row in rows if not row.is_snapshot]:
        fresh += await _new_events(session, events)
    taken = {id(row) for row in fresh}
    return [row for row in rows if id(row) in taken]


async def _new_snapshots(session: AsyncSession, rows: Sequence[AuditRow]) -> list[AuditRow]:
    """Snapshots that came for the first time. They count as no sequence: they open no gap and close none."""
    if not rows:
        return []
    known = await audit.known_snapshots(session, rows)
    return [row for row in {row.event_id: row for row in rows}.values() if row.event_id not in known]


async def _new_events(session: AsyncSession, rows: Sequence[AuditRow]) -> list[AuditRow]:
    subjects = {row.subject for row in rows}
    last = await audit.last_sequences(session, subjects)
    # Only a number below the last one can fall into a gap, so that events in order never ask for gaps.
    behind = {row.subject for row in rows if row.sequence <= last.get(row.subject, 0)}
    gaps = await audit.open_gaps(session, behind) if behind else {}
    received = {subject: Received(last.get(subject, 0), list(gaps.get(subject, ()))) for subject in subjects}
    fresh = [row for row in rows if received[row.subject].take(row.sequence)]
    await audit.change_gaps(session, gaps, {subject: state.gaps for subject, state in received.items()})
    return fresh


async def missing(session: AsyncSession, rows: Sequence[AuditRow]) -> list[AuditRow]:
    """Those of the events that the log does not have, as far as can be seen without holding up who writes."""
    events = [row for row in rows if not row.is_snapshot]
    subjects = {row.subject for row in events}
    last = await audit.last_sequences(session, subjects)
    gaps = await audit.open_gaps(session, subjects)
    received = {subject: Received(last.get(subject, 0), list(gaps.get(subject, ()))) for subject in subjects}
    new = {row.event_id for row in await _new_snapshots(session, [row for row in rows if row.is_snapshot])}
    return [
        row for row in rows if (row.event_id in new if row.is_snapshot else received[row.subject].take(row.sequence))
    ]


async def group_older_events(app: FastAPI) -> None:
    """Group what the feed had before there were groups, the newest first; runs as long as the service.

    Instances of before, which an upgrade leaves running for a while, add such events too.
    """
    session_maker: SessionMaker = app.state.session_maker

    async def look() -> bool:
        async with session_maker() as session, session.begin():
            last = await groups.last_ungrouped(session)
            if last is not None:
                await audit.lock_head(session)
                await groups.group_older(session, last - _GROUPED_AT_ONCE, last)
        return last is not None

    await look_again("older groups", look, _LOOK_SECONDS)


def _count(rows: Sequence[AuditRow], fresh: Sequence[AuditRow]) -> None:
    topic = rows[0].topic
    AUDITED.labels(topic).inc(len(fresh))
    DUPLICATES.labels(topic).inc(len(rows) - len(fresh))
    for row in _unknown(fresh):
        UNKNOWN_FEED_TYPES.inc()
        logger.warning("unknown feed type, audited only", type=row.type, feed_type=row.feed_type)


def _unknown(rows: Iterable[AuditRow]) -> Iterable[AuditRow]:
    return (row for row in rows if row.feed_type is not None and row.feed_type not in FEED_TYPES)
