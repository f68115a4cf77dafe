"""The activity service's tables: the feed, who has read it, the audit log and what guards it.

Both positions count from 1 without gaps in the order of commit, because whoever appends holds the one row of
`audit_head`: once position N is visible, so is everything before it. That is what makes unread counts a subtraction
and lets a reader resume after N.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    DateTime,
    Enum,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import BIT, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.db import declarative_base
from shared.events.vocabulary import ActivityEventType
from shared.tables import ACCESS_TABLES, CONSUMER_TABLES, PRODUCER_TABLES


class Base(DeclarativeBase):
    """Beside the tables below: outbox, inbox, dead letters and what tells good tokens from bad."""

    metadata = declarative_base(PRODUCER_TABLES, CONSUMER_TABLES, ACCESS_TABLES).metadata


NO_SNAPSHOT = "00000000-0000-0000-0000-000000000000"

_FEED_TYPE = Enum(
    ActivityEventType,
    name="activity_event_type",
    values_callable=lambda members: [member.value for member in members],
)

BLOCK = 1024
"""Positions of the feed whose bits lie in one row: as long as a row is cheap to write for one event that is read."""

_OPEN = "status IN ('assigned', 'in_progress')"


class ActivityEvent(Base):
    """One event as the feed shows it; made from its row in the audit log, and can be made again from it."""

    __tablename__ = "activity_events"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, server_default=func.gen_random_uuid(), comment="Event id.")
    event_type: Mapped[ActivityEventType] = mapped_column(_FEED_TYPE, nullable=False)
    signal_id: Mapped[UUID | None] = mapped_column(Uuid)
    user_id: Mapped[UUID | None] = mapped_column(Uuid, comment="Who did it; NULL for the system.")
    payload: Mapped[Any] = mapped_column(JSONB, nullable=False, comment="The event's data, as its producer sent it.")
    read: Mapped[bool] = mapped_column(
        Boolean, nullable=False, server_default=false(), comment="Whether any user has read it."
    )
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False, comment="When it happened.")
    position: Mapped[int] = mapped_column(BigInteger, nullable=False, comment="1..N in the order of commit.")
    source: Mapped[str] = mapped_column(String(255), nullable=False)
    subject: Mapped[UUID] = mapped_column(Uuid, nullable=False)
    sequence: Mapped[int] = mapped_column(Integer, nullable=False, comment="Per source and subject, from 1.")
    type: Mapped[str] = mapped_column(String(255), nullable=False, comment="The CloudEvents type.")
    summary: Mapped[str | None] = mapped_column(Text, comment="The producer's sentence.")
    correlation_id: Mapped[str | None] = mapped_column(Text, comment="Joins what one request or batch caused.")
    group_id: Mapped[UUID | None] = mapped_column(Uuid, comment="The burst it is part of.")
    severity: Mapped[int | None] = mapped_column(SmallInteger, comment="Of the signal, as the event says.")
    critical: Mapped[bool] = mapped_column(
        Boolean, nullable=False, server_default=false(), comment="A critical new signal."
    )
    assignee_id: Mapped[UUID | None] = mapped_column(Uuid, comment="To whom an assignment event gives the work.")

    __table_args__ = (
        UniqueConstraint("position"),
        Index("ix_activity_events_unread", "read", "created_at", postgresql_where=text("read = FALSE")),
        Index("ix_activity_events_created_at_id", "created_at", "id"),
        Index("ix_activity_events_signal_id", "signal_id", "created_at", "id"),
        Index("ix_activity_events_event_type", "event_type", "created_at", "id"),
        # What the system does, which is most of it, costs this index nothing.
        Index(
            "ix_activity_events_user_id",
            "user_id",
            "created_at",
            "id",
            postgresql_where=text("user_id IS NOT NULL"),
        ),
        Index("ix_activity_events_group_id", "group_id", "created_at", "id", postgresql_include=["position"]),
        # What code of before the groups added: empty but for a while.
        Index("ix_activity_events_ungrouped", "position", postgresql_where=text("group_id IS NULL")),
        Index("ix_activity_events_critical", "created_at", "id", postgresql_where=text("critical")),
        Index(
            "ix_activity_events_assignee_id",
            "assignee_id",
            "created_at",
            "id",
            postgresql_where=text("assignee_id IS NOT NULL"),
        ),
    )


class FeedGroup(Base):
    """A run of events that the grouped feed shows as one: a burst of the system's, or one request of a person's."""

    __tablename__ = "feed_groups"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, comment="Made from what its events have in common.")
    event_type: Mapped[ActivityEventType] = mapped_column(_FEED_TYPE, nullable=False)
    user_id: Mapped[UUID | None] = mapped_column(Uuid, comment="Who did all of it; NULL for the system.")
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True),
        nullable=False,
        comment="Of the event that opened it: its place in the feed, which never changes.",
    )
    event_count: Mapped[int] = mapped_column(Integer, nullable=False)
    first_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False)
    last_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False)
    last_position: Mapped[int] = mapped_column(BigInteger, nullable=False, comment="The highest of its events.")
    first_event_id: Mapped[UUID] = mapped_column(Uuid, nullable=False, comment="The one that opened it.")
    worst_event_id: Mapped[UUID] = mapped_column(Uuid, nullable=False, comment="The most severe; the first of equals.")
    worst_severity: Mapped[int | None] = mapped_column(SmallInteger)

    __table_args__ = (
        Index("ix_feed_groups_created_at_id", "created_at", "id"),
        Index("ix_feed_groups_event_type", "event_type", "created_at", "id"),
        Index("ix_feed_groups_user_id", "user_id", "created_at", "id", postgresql_where=text("user_id IS NOT NULL")),
        {"comment": "Runs of events that the grouped feed shows as one."},
    )


class KnownAssignment(Base):
    """The last that was told of each assignment, not what arrived last: see `repository_assignments`."""

    __tablename__ = "known_assignments"

    assignment_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    told_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), nullable=False, comment="Time of the event that told this."
    )
    position: Mapped[int] = mapped_column(BigInteger, nullable=False, comment="Of that event in the audit log.")
    signal_id: Mapped[UUID] = mapped_column(Uuid, nullable=False)
    sequence: Mapped[int] = mapped_column(
        Integer, nullable=False, server_default="0", comment="Of that event, among those of the signal."
    )
    status: Mapped[str] = mapped_column(Text, nullable=False)
    assignee_id: Mapped[UUID | None] = mapped_column(Uuid)
    assignee_name: Mapped[str | None] = mapped_column(Text)
    role_type: Mapped[str | None] = mapped_column(Text)
    due_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    snoozed_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    snoozed_until_worse: Mapped[bool] = mapped_column(Boolean, nullable=False)
    label: Mapped[Any] = mapped_column(JSONB, nullable=True, comment="What the signal is called.")

    __table_args__ = (
        Index("ix_known_assignments_due_at", "due_at", postgresql_where=text(_OPEN)),
        Index("ix_known_assignments_assignee_id", "assignee_id", postgresql_where=text(_OPEN)),
        {"comment": "The last that was told of each assignment."},
    )


class AuditEntry(Base):
    """One event of any service, whole. Rows are only ever added: by privilege, and by trigger for everybody."""

    __tablename__ = "audit_log"

    position: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, autoincrement=False, comment="1..N in the order of commit."
    )
    event_id: Mapped[UUID] = mapped_column(Uuid, nullable=False)
    topic: Mapped[str] = mapped_column(String(249), nullable=False)
    source: Mapped[str] = mapped_column(String(255), nullable=False)
    subject: Mapped[UUID] = mapped_column(Uuid, nullable=False)
    sequence: Mapped[int] = mapped_column(Integer, nullable=False, comment="Per source and subject, from 1.")
    type: Mapped[str] = mapped_column(String(255), nullable=False)
    time: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False, comment="When it happened.")
    actor_id: Mapped[UUID | None] = mapped_column(Uuid)
    feed_type: Mapped[str | None] = mapped_column(Text, comment="As the producer said, known here or not.")
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False)
    envelope: Mapped[Any] = mapped_column(JSONB, nullable=False, comment="The whole event.")
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary, nullable=False, comment="Of the row before.")
    hash: Mapped[bytes] = mapped_column(
        LargeBinary, nullable=False, comment="SHA-256 of previous_hash and this row's audit_content_v1."
    )

    snapshot_id: Mapped[UUID] = mapped_column(
        Uuid,
        nullable=False,
        server_default=text(f"'{NO_SNAPSHOT}'"),
        comment="The event's own id for a snapshot, which repeats a sequence; all zeros for an event.",
    )

    __table_args__ = (
        # The subject first: it also answers "the last sequence of this subject" and "all about this subject".
        UniqueConstraint("subject", "source", "sequence", "snapshot_id"),
        Index("ix_audit_log_type", "type", "position"),
        Index("ix_audit_log_actor_id", "actor_id", "position", postgresql_where=text("actor_id IS NOT NULL")),
        # Rows come roughly in the order of time: a block range index is enough and next to free.
        Index("ix_audit_log_time", "time", postgresql_using="brin"),
    )


class AuditHead(Base):
    """The end of the audit log and of the feed, in one row; whoever appends locks it."""

    __tablename__ = "audit_head"

    singleton: Mapped[bool] = mapped_column(Boolean, primary_key=True, server_default=true())
    audit_position: Mapped[int] = mapped_column(BigInteger, nullable=False, server_default="0")
    feed_position: Mapped[int] = mapped_column(BigInteger, nullable=False, server_default="0")
    last_hash: Mapped[bytes] = mapped_column(LargeBinary, nullable=False, comment="32 zero bytes before the first row.")

    __table_args__ = (CheckConstraint("singleton", name="one_row"),)


class SequenceGap(Base):
    """A run of sequence numbers of one subject that have not come, though a later one has."""

    __tablename__ = "sequence_gaps"

    source: Mapped[str] = mapped_column(String(255), primary_key=True)
    subject: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    first: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    last: Mapped[int] = mapped_column(Integer, nullable=False)
    noticed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False, server_default=func.now())

    __table_args__ = (
        CheckConstraint("first >= 1 AND first <= last", name="in_order"),
        Index("ix_sequence_gaps_noticed_at", "noticed_at", "subject", "first"),
    )


class KnownUser(Base):
    """A user's name from one of their events on: the feed shows the name that was valid when something happened."""

    __tablename__ = "known_users"

    user_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    sequence: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text, nullable=False)
    since: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False)


class FeedReadWatermark(Base):
    """Up to which feed position a user has read everything."""

    __tablename__ = "feed_read_watermarks"

    user_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, nullable=False)


class FeedReadBits(Base):
    """Which events of a block of positions a user has read one by one, a bit each.

    Positions have no gaps, so a user who has read any half of two million events takes a third of a megabyte, and what
    is unread is counted by blocks.
    """

    __tablename__ = "feed_read_bits"

    user_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    block: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, autoincrement=False, comment="Of positions from 1024 * block on."
    )
    bits: Mapped[Any] = mapped_column(BIT(BLOCK), nullable=False, comment="Bit n: position 1024 * block + n.")
    count: Mapped[int] = mapped_column(
        Integer, Computed("CAST(bit_count(bits) AS integer)", persisted=True), nullable=False, comment="Bits set."
    )
    flagged: Mapped[bool] = mapped_column(
        Boolean, nullable=False, comment="Whether activity_events.read knows of it; many at once follow a little later."
    )

    __table_args__ = (
        Index("ix_feed_read_bits_unflagged", "block", postgresql_where=text("NOT flagged")),
        {"comment": "What users have read above their watermark."},
    )


class FeedRead(Base):
    """What instances of before `feed_read_bits` note, one row an event; a trigger sets the bits. Nothing else reads it.

    To be dropped by the release after the next, when none of them can be running.
    """

    __tablename__ = "feed_reads"

    user_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    event_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, nullable=False, comment="The event's.")
    read_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False, server_default=func.now())

    flagged: Mapped[bool] = mapped_column(
        Boolean,
        nullable=False,
        server_default=true(),
        comment="Whether activity_events.read knows of it; many at once follow a little later.",
    )

    __table_args__ = (
        Index("ix_feed_reads_user_id_position", "user_id", "position"),
        Index("ix_feed_reads_unflagged", "event_id", postgresql_where=text("NOT flagged")),
    )


class FeedReadSweep(Base):
    """Up to which feed position `activity_events.read` follows the highest watermark of all users; one row."""

    __tablename__ = "feed_read_sweep"

    singleton: Mapped[bool] = mapped_column(Boolean, primary_key=True, server_default=true())
    position: Mapped[int] = mapped_column(BigInteger, nullable=False, server_default="0")

    __table_args__ = (CheckConstraint("singleton", name="one_row"),)
