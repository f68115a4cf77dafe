"""SQL of the audit log: appending under the lock of `audit_head`, the hash chain, and gaps in sequences."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity import repository_assignments
from services.activity import repository_groups as feed
from services.activity.models import NO_SNAPSHOT
from services.activity.sequences import Gap, Subject
from shared.events.topics import COMPASS_WORKFLOW


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One event on its way into the audit log; ``envelope`` is its JSON text as it came."""

    event_id: UUID
    topic: str
    subject: Subject
    sequence: int
    type: str
    time: datetime
    actor_id: UUID | None
    feed_type: str | None
    envelope: str
    is_snapshot: bool = False
    """It repeats a state under the sequence of the subject's last event: recorded, but no number that has come."""


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the audit log and of the feed."""

    audit_position: int
    feed_position: int
    last_hash: bytes


_LOCK_HEAD = text("SELECT audit_position, feed_position, last_hash FROM audit_head FOR UPDATE")
_LAST = text(
    """
    SELECT wanted.source, wanted.subject, found.last
    FROM unnest(CAST(:sources AS text[]), CAST(:subjects AS uuid[])) AS wanted (source, subject)
    CROSS JOIN LATERAL (
        SELECT sequence AS last FROM audit_log
        WHERE audit_log.subject = wanted.subject AND audit_log.source = wanted.source
          AND audit_log.snapshot_id = '00000000-0000-0000-0000-000000000000'
        ORDER BY sequence DESC LIMIT 1
    ) AS found
    """
)
_SNAPSHOTS = text(
    """
    SELECT audit_log.event_id
    FROM unnest(CAST(:sources AS text[]), CAST(:subjects AS uuid[]), CAST(:sequences AS integer[]),
                CAST(:event_ids AS uuid[])) AS wanted (source, subject, sequence, event_id)
    JOIN audit_log ON audit_log.subject = wanted.subject AND audit_log.source = wanted.source
     AND audit_log.sequence = wanted.sequence AND audit_log.snapshot_id = wanted.event_id
    """
)
_OPEN_GAPS = text(
    """
    SELECT source, subject, first, last, noticed_at
    FROM sequence_gaps
    WHERE (source, subject) IN (SELECT * FROM unnest(CAST(:sources AS text[]), CAST(:subjects AS uuid[])))
    ORDER BY first
    """
)
_CLOSE_GAPS = text(
    """
    DELETE FROM sequence_gaps USING unnest(
        CAST(:sources AS text[]), CAST(:subjects AS uuid[]), CAST(:firsts AS integer[])
    ) AS closed (source, subject, first)
    WHERE sequence_gaps.source = closed.source AND sequence_gaps.subject = closed.subject
      AND sequence_gaps.first = closed.first
    """
)
_OPEN_GAP = text(
    """
    INSERT INTO sequence_gaps (source, subject, first, last, noticed_at)
    SELECT source, subject, first, last, coalesce(noticed_at, now())
    FROM unnest(
        CAST(:sources AS text[]), CAST(:subjects AS uuid[]), CAST(:firsts AS integer[]), CAST(:lasts AS integer[]),
        CAST(:noticed AS timestamptz[])
    ) AS gap (source, subject, first, last, noticed_at)
    """
)

# The first step is materialized so that each envelope is parsed once, though the hash and the row both need it.
_APPEND = text(
    """
    WITH event AS MATERIALIZED (
        SELECT :position + place AS position, event_id, topic, source, subject, sequence, type, time, actor_id,
               feed_type, statement_timestamp() AS recorded_at, CAST(envelope AS jsonb) AS envelope, snapshot_id
        FROM unnest(
            CAST(:event_ids AS uuid[]), CAST(:topics AS text[]), CAST(:sources AS text[]), CAST(:subjects AS uuid[]),
            CAST(:sequences AS integer[]), CAST(:types AS text[]), CAST(:times AS timestamptz[]),
            CAST(:actor_ids AS uuid[]), CAST(:feed_types AS text[]), CAST(:envelopes AS text[]),
            CAST(:snapshot_ids AS uuid[])
        ) WITH ORDINALITY AS given
            (event_id, topic, source, subject, sequence, type, time, actor_id, feed_type, envelope, snapshot_id, place)
    ),
    chained AS (
        SELECT event.*, audit_chain_v1(
            CAST(:last_hash AS bytea),
            audit_content_v1(position, event_id, topic, source, subject, sequence, type, time, actor_id, feed_type,
                             recorded_at, envelope)
        ) OVER (ORDER BY position) AS hash
        FROM event
    ),
    appended AS (
        INSERT INTO audit_log (position, event_id, topic, source, subject, sequence, type, time, actor_id, feed_type,
                               recorded_at, envelope, snapshot_id, previous_hash, hash)
        SELECT position, event_id, topic, source, subject, sequence, type, time, actor_id, feed_type, recorded_at,
               envelope, snapshot_id, lag(hash, 1, CAST(:last_hash AS bytea)) OVER (ORDER BY position), hash
        FROM chained
        RETURNING position, hash
    )
    SELECT position, hash FROM appended ORDER BY position DESC LIMIT 1
    """
)

# The notification reaches listeners when the transaction commits; it carries nothing that they could not read.
_MOVE_HEAD = text(
    """
    UPDATE audit_head
    SET audit_position = :audit_position, feed_position = feed_position + :shown, last_hash = :last_hash
    RETURNING CASE WHEN :shown > 0 THEN pg_notify('activity_feed', '') END
    """
)


async def lock_head(session: AsyncSession) -> Head:
    """The end of the log, locked until the transaction ends: nobody else appends meanwhile.

    Statements after this one see everything that was appended before.
    """
    row = (await session.execute(_LOCK_HEAD)).one()
    return Head(row.audit_position, row.feed_position, bytes(row.last_hash))


async def last_sequences(session: AsyncSession, subjects: Collection[Subject]) -> dict[Subject, int]:
    """The highest sequence in the log of each subject that is there."""
    result = await session.execute(_LAST, _columns(subjects))
    return {Subject(source, subject): last for source, subject, last in result}


async def known_snapshots(session: AsyncSession, rows: Collection[AuditRow]) -> set[UUID]:
    """The ids of those snapshots that are in the log."""
    more = {"sequences": [row.sequence for row in rows], "event_ids": [row.event_id for row in rows]}
    return set((await session.execute(_SNAPSHOTS, _columns([row.subject for row in rows]) | more)).scalars())


async def open_gaps(session: AsyncSession, subjects: Collection[Subject]) -> dict[Subject, list[Gap]]:
    """The missing sequences of these subjects, in order."""
    gaps: dict[Subject, list[Gap]] = {}
    for row in await session.execute(_OPEN_GAPS, _columns(subjects)):
        gaps.setdefault(Subject(row.source, row.subject), []).append(Gap(row.first, row.last, row.noticed_at))
    return gaps


async def change_gaps(
    session: AsyncSession, before: Mapping[Subject, Collection[Gap]], after: Mapping[Subject, Collection[Gap]]
) -> None:
    """Store what differs between the gaps of the same subjects before and after."""
    gone = [(subject, gap) for subject, gaps in before.items() for gap in gaps if gap not in after[subject]]
    new = [(subject, gap) for subject, gaps in after.items() for gap in gaps if gap not in before.get(subject, ())]
    if gone:
        firsts = {"firsts": [gap.first for _, gap in gone]}
        await session.execute(_CLOSE_GAPS, _columns([subject for subject, _ in gone]) | firsts)
    if new:
        runs = {
            "firsts": [gap.first for _, gap in new],
            "lasts": [gap.last for _, gap in new],
            "noticed": [gap.noticed_at for _, gap in new],
        }
        await session.execute(_OPEN_GAP, _columns([subject for subject, _ in new]) | runs)


async def append(session: AsyncSession, head: Head, rows: Sequence[AuditRow]) -> None:
    """Add rows at the end of the log, those with a known feed type to the feed, and move the head, which is locked.

    All that is known of assignments follows here, too: one transaction has the event and what it changes.
    """
    end = await session.execute(
        _APPEND,
        {
            "position": head.audit_position,
            "last_hash": head.last_hash,
            "event_ids": [row.event_id for row in rows],
            "topics": [row.topic for row in rows],
            "sources": [row.subject.source for row in rows],
            "subjects": [row.subject.id for row in rows],
            "sequences": [row.sequence for row in rows],
            "types": [row.type for row in rows],
            "times": [row.time for row in rows],
            "actor_ids": [row.actor_id for row in rows],
            "feed_types": [row.feed_type for row in rows],
            "envelopes": [row.envelope for row in rows],
            "snapshot_ids": [row.event_id if row.is_snapshot else UUID(NO_SNAPSHOT) for row in rows],
        },
    )
    position, last_hash = end.one()
    shown = await feed.show(session, head.audit_position, position, head.feed_position)
    if any(row.topic == COMPASS_WORKFLOW.name for row in rows):
        await repository_assignments.learn(session, head.audit_position, position)
    await session.execute(_MOVE_HEAD, {"audit_position": position, "shown": shown, "last_hash": last_hash})


def _columns(subjects: Collection[Subject]) -> dict[str, list[object]]:
    return {"sources": [subject.source for subject in subjects], "subjects": [subject.id for subject in subjects]}
