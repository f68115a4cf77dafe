"""The tables of the schema `workflow`: assignments and what happens along them, and copies of signals and users."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Enum,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, ExcludeConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.db import declarative_base
from shared.events.vocabulary import (
    AssignmentStatus,
    MagnitudeTier,
    MetricPolarity,
    RoleType,
    SignalDomain,
    UserRole,
)
from shared.events.workflow import InterventionKind, InterventionOutcome, ResolutionReason
from shared.tables import ACCESS_TABLES, CONSUMER_TABLES, IDEMPOTENCY_TABLES, PRODUCER_TABLES


class TransitionKind(StrEnum):
    """What a line of an assignment's history tells of."""

    ASSIGNED = "assigned"
    REASSIGNED = "reassigned"
    UNASSIGNED = "unassigned"
    MOVED = "moved"
    CARRIED_OVER = "carried_over"


def _enum(values: type[StrEnum], name: str) -> Enum:
    return Enum(values, name=name, values_callable=lambda members: [member.value for member in members])


_Moment = DateTime(timezone=True)
_assignment_status = _enum(AssignmentStatus, "assignment_status")
_role_type = _enum(RoleType, "role_type")
_signal_domain = _enum(SignalDomain, "signal_domain")
_resolution_reason = _enum(ResolutionReason, "resolution_reason")
_texts = ARRAY(Text)
_new_id = text("gen_random_uuid()")


class Base(DeclarativeBase):
    """The tables of this service, with those that services share."""

    metadata = declarative_base(PRODUCER_TABLES, CONSUMER_TABLES, ACCESS_TABLES, IDEMPOTENCY_TABLES).metadata


class Assignment(Base):
    """The work on one entity, at the detection that it has reached; a closed one stays at its detection.

    The timestamps say since when the status, or one after it, has been reached without going back.
    """

    __tablename__ = "assignments"
    __table_args__ = (
        # Nothing is worked on twice: an entity has at most one assignment that is not closed.
        Index("uq_assignments_open_entity", "entity_id", unique=True, postgresql_where=text("status <> 'closed'")),
        Index("ix_assignments_entity_id", "entity_id"),
        Index("ix_assignments_created_at_id", "created_at", "id"),
        Index("ix_assignments_assignee_id_created_at_id", "assignee_id", "created_at", "id"),
        Index("ix_assignments_assigner_id_created_at_id", "assigner_id", "created_at", "id"),
        Index("ix_assignments_status_created_at_id", "status", "created_at", "id"),
        Index("ix_assignments_role_type_created_at_id", "role_type", "created_at", "id"),
        Index("ix_assignments_snoozed", "created_at", "id", postgresql_where=text("snoozed_at IS NOT NULL")),
        Index("ix_assignments_due_at", "due_at", postgresql_where=text("status IN ('assigned', 'in_progress')")),
        Index("ix_assignments_snoozed_until", "snoozed_until", postgresql_where=text("snoozed_until IS NOT NULL")),
        # What may still have to be reminded of or escalated; a row leaves it for good with its escalation.
        Index(
            "ix_assignments_to_remind",
            "due_at",
            postgresql_where=text("status IN ('assigned', 'in_progress') AND escalated_at IS NULL"),
        ),
        # The windows of the workload view; they hold all that its medians need.
        Index(
            "ix_assignments_assigned_at", "assigned_at", postgresql_include=["assignee_id", "role_type", "opened_at"]
        ),
        Index(
            "ix_assignments_resolved_at", "resolved_at", postgresql_include=["assignee_id", "role_type", "assigned_at"]
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_new_id)
    signal_id: Mapped[UUID] = mapped_column(unique=True)
    assignee_id: Mapped[UUID | None]
    assigner_id: Mapped[UUID | None]
    status: Mapped[AssignmentStatus] = mapped_column(_assignment_status, nullable=True, server_default="new")
    role_type: Mapped[RoleType | None] = mapped_column(_role_type)
    notes: Mapped[str | None] = mapped_column(Text)
    resolution_notes: Mapped[str | None] = mapped_column(Text)
    assigned_at: Mapped[datetime | None] = mapped_column(_Moment)
    started_at: Mapped[datetime | None] = mapped_column(_Moment)
    resolved_at: Mapped[datetime | None] = mapped_column(_Moment)
    closed_at: Mapped[datetime | None] = mapped_column(_Moment)
    created_at: Mapped[datetime] = mapped_column(_Moment, nullable=True, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(_Moment, nullable=True, server_default=func.now())

    entity_id: Mapped[UUID]
    version: Mapped[int] = mapped_column(
        Integer, server_default="1", comment="Counts the changes of the row; the API's ETag."
    )
    resolved_by: Mapped[UUID | None] = mapped_column(comment="Who resolved it last; kept when it goes back.")
    resolution_reason: Mapped[ResolutionReason | None] = mapped_column(_resolution_reason)
    rule_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("ownership_rules.id"), comment="The ownership rule that assigned it, if one did."
    )
    rule_version: Mapped[int | None] = mapped_column(Integer, comment="The rule's version that assigned it.")
    opened_at: Mapped[datetime | None] = mapped_column(
        _Moment, comment="When the signal that it began with was first heard of; NULL for one from before this column."
    )
    due_at: Mapped[datetime | None] = mapped_column(_Moment)
    reminded_at: Mapped[datetime | None] = mapped_column(_Moment)
    due_reminded_at: Mapped[datetime | None] = mapped_column(_Moment, comment="Reminded at the due date itself.")
    escalated_at: Mapped[datetime | None] = mapped_column(_Moment)
    snoozed_until: Mapped[datetime | None] = mapped_column(_Moment)
    snoozed_severity: Mapped[int | None] = mapped_column(
        SmallInteger, comment="Snoozed until the severity exceeds this."
    )
    snoozed_at: Mapped[datetime | None] = mapped_column(_Moment)
    snoozed_by: Mapped[UUID | None]


class AssignmentTransition(Base):
    """One line of history: who changed what of an assignment, when, at which detection."""

    __tablename__ = "assignment_transitions"
    __table_args__ = (
        Index("ix_assignment_transitions_entity_id_id", "entity_id", "id"),
        Index("ix_assignment_transitions_signal_id", "signal_id"),
        Index("ix_assignment_transitions_assignment_id_id", "assignment_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    assignment_id: Mapped[UUID] = mapped_column(ForeignKey("assignments.id"))
    entity_id: Mapped[UUID]
    signal_id: Mapped[UUID] = mapped_column(comment="The detection that the assignment was at, after the change.")
    previous_signal_id: Mapped[UUID | None] = mapped_column(comment="The one before; only where it was carried over.")
    kind: Mapped[TransitionKind] = mapped_column(_enum(TransitionKind, "transition_kind"))
    from_status: Mapped[AssignmentStatus] = mapped_column(_assignment_status)
    to_status: Mapped[AssignmentStatus] = mapped_column(_assignment_status)
    actor_id: Mapped[UUID | None] = mapped_column(comment="NULL for the system.")
    actor_name: Mapped[str | None] = mapped_column(String(255), comment="As it was at that time.")
    assignee_id: Mapped[UUID | None] = mapped_column(comment="After the change.")
    assignee_name: Mapped[str | None] = mapped_column(String(255), comment="As it was at that time.")
    notes: Mapped[str | None] = mapped_column(Text)
    resolution_notes: Mapped[str | None] = mapped_column(Text)
    resolution_reason: Mapped[ResolutionReason | None] = mapped_column(_resolution_reason)
    rule_id: Mapped[UUID | None] = mapped_column(comment="The ownership rule that assigned it, if one did.")
    rule_version: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(_Moment)


class Comment(Base):
    """A comment on a signal; shown along the chain of the entity's detections."""

    __tablename__ = "comments"
    __table_args__ = (
        Index("ix_comments_entity_id_created_at_id", "entity_id", "created_at", "id"),
        Index("ix_comments_signal_id", "signal_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_new_id)
    signal_id: Mapped[UUID]
    entity_id: Mapped[UUID]
    author_id: Mapped[UUID]
    author_name: Mapped[str] = mapped_column(String(255), comment="As it was at that time.")
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(_Moment, server_default=func.now())


class Intervention(Base):
    """What was done about a signal and, once measured from later detections, what came of it."""

    __tablename__ = "interventions"
    __table_args__ = (
        Index("ix_interventions_entity_id_started_at_id", "entity_id", "started_at", "id"),
        Index("ix_interventions_signal_id", "signal_id"),
        Index("ix_interventions_window_ends_at", "window_ends_at", postgresql_where=text("outcome IS NULL")),
        CheckConstraint("window_ends_at > started_at", name="window"),
        CheckConstraint("(outcome IS NULL) = (measured_at IS NULL)", name="measured"),
        CheckConstraint("(measurement IS NULL) = (measured_at IS NULL)", name="measurement"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_new_id)
    signal_id: Mapped[UUID]
    entity_id: Mapped[UUID]
    kind: Mapped[InterventionKind] = mapped_column(_enum(InterventionKind, "intervention_kind"))
    title: Mapped[str] = mapped_column(String(255))
    notes: Mapped[str | None] = mapped_column("description", Text)
    started_at: Mapped[datetime] = mapped_column(_Moment)
    window_begins_at: Mapped[datetime] = mapped_column(_Moment, comment="Detections from here on are before.")
    window_ends_at: Mapped[datetime] = mapped_column(_Moment, comment="When the outcome is measured by itself.")
    measure_by: Mapped[datetime] = mapped_column(
        _Moment, comment="When it is measured though no detection has reached the window's end."
    )
    value_before: Mapped[Decimal | None] = mapped_column(Numeric(10, 4))
    value_after: Mapped[Decimal | None] = mapped_column(Numeric(10, 4))
    outcome: Mapped[InterventionOutcome | None] = mapped_column(_enum(InterventionOutcome, "intervention_outcome"))
    measured_at: Mapped[datetime | None] = mapped_column(_Moment)
    measured_by: Mapped[UUID | None] = mapped_column(comment="NULL where it was measured by itself.")
    measured_by_name: Mapped[str | None] = mapped_column(String(255), comment="As it was at that time.")
    measurement: Mapped[dict[str, Any] | None] = mapped_column(JSONB, comment="The outcome as the API answers it.")
    created_by: Mapped[UUID]
    created_by_name: Mapped[str] = mapped_column(String(255), server_default="", comment="As it was at that time.")
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    created_at: Mapped[datetime] = mapped_column(_Moment, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(_Moment, server_default=func.now())


class OwnershipRule(Base):
    """Which new signals go to whom by themselves; the first that matches by position. An empty list matches all."""

    __tablename__ = "ownership_rules"
    __table_args__ = (
        # Moving a rule renumbers others: all of them agree again at the end of the transaction.
        ExcludeConstraint(
            (Column("position"), "="),
            name="ex_ownership_rules_position",
            using="btree",
            where=text("deleted_at IS NULL"),
            deferrable=True,
            initially="DEFERRED",
        ),
        CheckConstraint("minimum_severity BETWEEN 0 AND 100", name="minimum_severity"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_new_id)
    name: Mapped[str] = mapped_column(String(255), server_default="")
    position: Mapped[int] = mapped_column(Integer, comment="1..N among the rules that are not deleted.")
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    enabled: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    domains: Mapped[list[str]] = mapped_column(_texts, server_default=text("'{}'"))
    facilities: Mapped[list[str]] = mapped_column(_texts, server_default=text("'{}'"), comment="Names or ids.")
    system_names: Mapped[list[str]] = mapped_column(_texts, server_default=text("'{}'"))
    service_lines: Mapped[list[str]] = mapped_column(_texts, server_default=text("'{}'"))
    metric_ids: Mapped[list[str]] = mapped_column(_texts, server_default=text("'{}'"))
    signal_types: Mapped[list[str]] = mapped_column(_texts, server_default=text("'{}'"))
    minimum_severity: Mapped[int | None] = mapped_column(SmallInteger)
    assignee_id: Mapped[UUID]
    role_type: Mapped[RoleType] = mapped_column(_role_type)
    created_by: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(_Moment, server_default=func.now())
    updated_by: Mapped[UUID]
    updated_at: Mapped[datetime] = mapped_column(_Moment, server_default=func.now())
    deleted_at: Mapped[datetime | None] = mapped_column(_Moment, comment="Kept, since assignments name their rule.")


class OwnershipRuleVersion(Base):
    """A rule as it was in one version, and who made it so."""

    __tablename__ = "ownership_rule_versions"

    rule_id: Mapped[UUID] = mapped_column(ForeignKey("ownership_rules.id"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    rule: Mapped[dict[str, Any]] = mapped_column(JSONB, comment="The rule's columns by name.")
    changed_by: Mapped[UUID]
    changed_by_name: Mapped[str] = mapped_column(String(255), server_default="", comment="As it was at that time.")
    changed_at: Mapped[datetime] = mapped_column(_Moment, server_default=func.now())


class KnownSignal(Base):
    """What this service has heard of a detection, and whether it is its entity's current one here."""

    __tablename__ = "known_signals"
    __table_args__ = (
        Index("uq_known_signals_current", "entity_id", unique=True, postgresql_where=text("is_current")),
        Index("ix_known_signals_entity_id_detected_at", "entity_id", "detected_at"),
        Index("ix_known_signals_detected_at", "detected_at"),
    )

    signal_id: Mapped[UUID] = mapped_column(primary_key=True)
    entity_id: Mapped[UUID]
    detected_at: Mapped[datetime] = mapped_column(_Moment)
    is_current: Mapped[bool] = mapped_column(
        Boolean, comment="The entity's latest detection known here; all others are superseded by it."
    )
    was_current: Mapped[bool] = mapped_column(
        Boolean, comment="Whether it was ever the latest where it comes from; what was not moves no assignment."
    )
    sequence: Mapped[int] = mapped_column(Integer, comment="Of the last event whose state is stored here.")
    metric_id: Mapped[str] = mapped_column(String(100))
    domain: Mapped[SignalDomain] = mapped_column(_signal_domain)
    facility: Mapped[str] = mapped_column(String(255))
    facility_id: Mapped[str | None] = mapped_column(String(50))
    system_name: Mapped[str | None] = mapped_column(String(255))
    service_line: Mapped[str] = mapped_column(String(255))
    sub_service_line: Mapped[str | None] = mapped_column(String(255))
    group_value: Mapped[str | None] = mapped_column(String(500))
    description: Mapped[str] = mapped_column(Text)
    metric_value: Mapped[Decimal] = mapped_column(Numeric(10, 4))
    peer_mean: Mapped[Decimal | None] = mapped_column(Numeric(10, 4))
    polarity: Mapped[MetricPolarity] = mapped_column(_enum(MetricPolarity, "metric_polarity"))
    signal_type: Mapped[str] = mapped_column(String(50))
    severity: Mapped[int] = mapped_column(SmallInteger)
    magnitude_tier: Mapped[MagnitudeTier | None] = mapped_column(_enum(MagnitudeTier, "magnitude_tier"))
    heard_at: Mapped[datetime | None] = mapped_column(
        _Moment, server_default=func.now(), comment="When it came here; NULL for one from before this column."
    )


class KnownMetric(Base):
    """What this service has heard of a metric of the registry."""

    __tablename__ = "known_metrics"

    metric_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    target_low: Mapped[Decimal | None] = mapped_column(Numeric(10, 4), comment="Both or neither.")
    target_high: Mapped[Decimal | None] = mapped_column(Numeric(10, 4))
    sequence: Mapped[int] = mapped_column(Integer, comment="Of the last event whose state is stored here.")


class KnownUser(Base):
    """What this service has heard of a user."""

    __tablename__ = "known_users"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    role: Mapped[UserRole] = mapped_column(_enum(UserRole, "user_role"))
    is_active: Mapped[bool] = mapped_column(Boolean)
    sequence: Mapped[int] = mapped_column(Integer, comment="Of the last event whose state is stored here.")
