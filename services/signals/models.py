"""The tables of the signals service, in its own schema `signals`."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Enum,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.db import declarative_base
from shared.events.vocabulary import (
    AssignmentStatus,
    ConsistencyTier,
    MagnitudeTier,
    MetricPolarity,
    SignalDomain,
    TrajectoryTier,
)
from shared.tables import ACCESS_TABLES, CONSUMER_TABLES, IDEMPOTENCY_TABLES, PRODUCER_TABLES


class Base(DeclarativeBase):
    """The base of the service's tables; beside them lie those of `shared.tables` that it needs."""

    metadata = declarative_base(PRODUCER_TABLES, CONSUMER_TABLES, ACCESS_TABLES, IDEMPOTENCY_TABLES).metadata


CURRENT: Final = text("is_current")
RARE_TYPES: Final = "simplified_signal_type NOT IN ('baseline', 'improving_leader', 'emerging_risk')"
SEVERE: Final = "simplified_severity >= 91"
RARE_TIERS: Final = "magnitude_tier IN ('critical', 'severe')"
_WAITING: Final = text("signal_id IS NULL")
# What a leader's own list is filtered by stands behind the order in the indexes of the sorts: a walk to the few that
# match looks up no others, each of which may lie on a page of its own.
_PASSED_BY: Final = ("system_name", "service_line", "workflow_status")
# What a list is most often filtered by together, so that a total is counted without the table. Equal entries share
# their place, which keeps them small; the longest names together fit into what a B-tree holds of a row.
_COUNTED: Final = (
    *("service_line", "metric_id", "workflow_status", "domain", "simplified_signal_type", "magnitude_tier"),
    "assignee_id",
)


def _enum(values: type[StrEnum], name: str) -> Enum:
    return Enum(values, name=name, values_callable=lambda members: [member.value for member in members])


_moment: Final = DateTime(timezone=True)
_domain: Final = _enum(SignalDomain, "signal_domain")
_polarity: Final = _enum(MetricPolarity, "metric_polarity")
_status: Final = _enum(AssignmentStatus, "assignment_status")


class Signal(Base):
    """One detection of an entity (node, metric, facility, dimensions), and the service's copy of its workflow state.

    The first columns are those of the specification's data model, the rest are this service's own.
    """

    __tablename__ = "signals"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, server_default=func.gen_random_uuid())
    canonical_node_id: Mapped[str] = mapped_column(String(255))
    metric_id: Mapped[str] = mapped_column(String(100))
    domain: Mapped[SignalDomain] = mapped_column(_domain)
    facility: Mapped[str] = mapped_column(String(255))
    facility_id: Mapped[str | None] = mapped_column(String(50))
    system_name: Mapped[str | None] = mapped_column(String(255))
    service_line: Mapped[str] = mapped_column(String(255))
    sub_service_line: Mapped[str | None] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text)
    metric_value: Mapped[Decimal] = mapped_column(Numeric(10, 4))
    peer_mean: Mapped[Decimal | None] = mapped_column(Numeric(10, 4))
    peer_std: Mapped[Decimal | None] = mapped_column(Numeric(10, 4))
    percentile_rank: Mapped[Decimal | None] = mapped_column(Numeric(5, 2))
    encounters: Mapped[int | None] = mapped_column(Integer)
    detected_at: Mapped[datetime] = mapped_column(_moment)
    created_at: Mapped[datetime | None] = mapped_column(_moment, server_default=func.now())
    updated_at: Mapped[datetime | None] = mapped_column(_moment, server_default=func.now())

    simplified_signal_type: Mapped[str | None] = mapped_column(String(50))
    simplified_severity: Mapped[int | None] = mapped_column(Integer)
    simplified_severity_range: Mapped[list[int] | None] = mapped_column(JSONB)
    simplified_inputs: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    simplified_indicators: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    simplified_reasoning: Mapped[str | None] = mapped_column(Text)
    simplified_severity_calculation: Mapped[dict[str, Any] | None] = mapped_column(JSONB)

    entity_dimensions: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    entity_dimensions_hash: Mapped[str] = mapped_column(String(32))
    groupby_label: Mapped[str | None] = mapped_column(String(255))
    group_value: Mapped[str | None] = mapped_column(String(500))

    temporal_node_id: Mapped[str | None] = mapped_column(String(255))
    metric_trend_timeline: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    trend_direction: Mapped[str | None] = mapped_column(String(20))
    metadata_per_period: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    peer_percentile_trends: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)

    annual_excess_cost: Mapped[Decimal | None] = mapped_column(Numeric(12, 2))
    excess_los_days: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    capacity_impact_bed_days: Mapped[Decimal | None] = mapped_column(Numeric(10, 4))
    expected_metric_value: Mapped[Decimal | None] = mapped_column(Numeric(10, 4))
    why_matters_narrative: Mapped[str | None] = mapped_column(Text)

    entity_id: Mapped[UUID] = mapped_column(Uuid, comment="UUIDv5 of node, metric, facility id and dimensions hash.")
    is_current: Mapped[bool] = mapped_column(Boolean, comment="The entity's latest detection by detected_at.")
    previous_signal_id: Mapped[UUID | None] = mapped_column(
        Uuid, comment="The entity's detection before this one by detected_at, as known when this one arrived."
    )
    event_sequence: Mapped[int] = mapped_column(Integer, comment="Sequence of the last event published about the row.")
    content_hash: Mapped[bytes | None] = mapped_column(
        LargeBinary, comment="Digest of the message that the row was last made from; the same one changes nothing."
    )
    extra: Mapped[dict[str, Any] | None] = mapped_column(JSONB, comment="Fields of the message that no column holds.")

    polarity: Mapped[MetricPolarity | None] = mapped_column(_polarity, comment="The one that was classified by.")
    period_count: Mapped[int | None] = mapped_column(Integer)
    suppressed: Mapped[bool] = mapped_column(Boolean, server_default=false())
    magnitude_tier: Mapped[MagnitudeTier | None] = mapped_column(_enum(MagnitudeTier, "magnitude_tier"))
    trajectory_tier: Mapped[TrajectoryTier | None] = mapped_column(_enum(TrajectoryTier, "trajectory_tier"))
    consistency_tier: Mapped[ConsistencyTier | None] = mapped_column(_enum(ConsistencyTier, "consistency_tier"))
    engine_classified: Mapped[bool] = mapped_column(
        Boolean, server_default=false(), comment="The engine sent type and severity: never reclassified."
    )
    engine_inputs: Mapped[bool] = mapped_column(
        Boolean, server_default=false(), comment="The engine sent the five inputs: kept when reclassified."
    )
    engine_polarity: Mapped[bool] = mapped_column(
        Boolean, server_default=false(), comment="The engine sent the polarity: the registry does not change it."
    )

    description_edited_at: Mapped[datetime | None] = mapped_column(_moment)
    description_edited_by: Mapped[UUID | None] = mapped_column(Uuid)
    narrative_edited_at: Mapped[datetime | None] = mapped_column(_moment)
    narrative_edited_by: Mapped[UUID | None] = mapped_column(Uuid)

    workflow_status: Mapped[AssignmentStatus] = mapped_column(_status, server_default=AssignmentStatus.NEW.value)
    assignment_id: Mapped[UUID | None] = mapped_column(Uuid)
    assignee_id: Mapped[UUID | None] = mapped_column(Uuid)
    closed_at: Mapped[datetime | None] = mapped_column(_moment)
    workflow_sequence: Mapped[int] = mapped_column(
        Integer, server_default=text("0"), comment="Sequence of the last event of the workflow service heard of it."
    )

    __table_args__ = (
        UniqueConstraint(
            "canonical_node_id",
            "metric_id",
            "facility_id",
            "entity_dimensions_hash",
            "detected_at",
            name="uq_signals_identity",
            postgresql_nulls_not_distinct=True,
        ),
        Index("ix_signals_domain", "domain"),
        Index("ix_signals_facility", "facility"),
        Index("ix_signals_system_name", "system_name"),
        Index("ix_signals_service_line", "service_line"),
        Index("ix_signals_detected_at", "detected_at"),
        Index("ix_signals_metric_id", "metric_id"),
        Index("ix_signals_entity_dimensions", "entity_dimensions", postgresql_using="gin"),
        Index("ix_signals_simplified_signal_type", "simplified_signal_type"),
        Index("ix_signals_simplified_severity", "simplified_severity"),
        # An entity has one current row; its history is found by the other half, which costs a first detection nothing.
        Index("uq_signals_current_entity", "entity_id", unique=True, postgresql_where=CURRENT),
        Index("ix_signals_history", "entity_id", "detected_at", postgresql_where=text("NOT is_current")),
        # One index per sort of the list, with the tiebreak, over the rows that the list shows.
        Index(
            "ix_signals_list_detected_at",
            *("detected_at", "id", "simplified_severity", *_PASSED_BY),
            postgresql_where=CURRENT,
        ),
        Index(
            "ix_signals_list_priority",
            text("simplified_severity DESC NULLS LAST"),
            text("detected_at DESC"),
            text("id DESC"),
            *_PASSED_BY,
            postgresql_where=CURRENT,
        ),
        Index("ix_signals_list_metric_id", "metric_id", "detected_at", "id", postgresql_where=CURRENT),
        Index("ix_signals_list_facility", "facility", "detected_at", "id", postgresql_where=CURRENT),
        # What few signals have is not met soon in the sort's own index.
        Index(
            "ix_signals_list_facility_id",
            "facility_id",
            "detected_at",
            "id",
            postgresql_where=text("is_current AND facility_id IS NOT NULL"),
        ),
        Index(
            "ix_signals_list_sub_service_line",
            "sub_service_line",
            "detected_at",
            "id",
            postgresql_where=text("is_current AND sub_service_line IS NOT NULL"),
        ),
        Index(
            "ix_signals_list_rare_type",
            "simplified_signal_type",
            "detected_at",
            "id",
            postgresql_where=text(f"is_current AND {RARE_TYPES}"),
        ),
        Index(
            "ix_signals_list_rare_tier",
            "magnitude_tier",
            "detected_at",
            "id",
            postgresql_where=text(f"is_current AND {RARE_TIERS}"),
        ),
        Index("ix_signals_list_severe", "detected_at", "id", postgresql_where=text(f"is_current AND {SEVERE}")),
        Index(
            "ix_signals_list_assigned",
            "detected_at",
            "id",
            postgresql_where=text("is_current AND assignee_id IS NOT NULL"),
        ),
        Index(
            "ix_signals_list_touched",
            "detected_at",
            "id",
            postgresql_where=text("is_current AND workflow_status <> 'new'"),
        ),
        Index(
            "ix_signals_description",
            "description",
            postgresql_using="gin",
            postgresql_ops={"description": "extensions.gin_trgm_ops"},
            postgresql_where=CURRENT,
        ),
        # Nearly every signal is new and unassigned: those are found by the sort's own index.
        Index(
            "ix_signals_list_status",
            "workflow_status",
            "detected_at",
            "id",
            postgresql_where=text("is_current AND workflow_status <> 'new'"),
        ),
        Index(
            "ix_signals_list_assignee",
            "assignee_id",
            "detected_at",
            "id",
            postgresql_where=text("is_current AND assignee_id IS NOT NULL"),
        ),
        # A system has too many signals for their severities to be looked up in the table, a facility has not.
        Index(
            "ix_signals_counted_by_system", "system_name", *_COUNTED, "simplified_severity", postgresql_where=CURRENT
        ),
        Index("ix_signals_counted_by_facility", "facility", *_COUNTED, postgresql_where=CURRENT),
        # Counting by an index alone is as good as vacuum's knowledge of what everybody sees.
        {
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": "0.05",
                "autovacuum_vacuum_insert_scale_factor": "0.05",
            }
        },
    )


class Metric(Base):
    """The metric registry: what a metric is called and which direction is better."""

    __tablename__ = "metrics"

    metric_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    display_name: Mapped[str] = mapped_column(String(255))
    domain: Mapped[SignalDomain | None] = mapped_column(_domain)
    unit: Mapped[str | None] = mapped_column(String(50))
    polarity: Mapped[MetricPolarity] = mapped_column(_polarity)
    target_low: Mapped[Decimal | None] = mapped_column(Numeric(10, 4), comment="Both or neither; for target_range.")
    target_high: Mapped[Decimal | None] = mapped_column(Numeric(10, 4))
    event_sequence: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(_moment, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(_moment, server_default=func.now())
    updated_by: Mapped[UUID | None] = mapped_column(Uuid)


class Insight(Base):
    """A text of the engine about an entity; `signal_id` is NULL while the entity has no signal yet."""

    __tablename__ = "insights"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, comment="UUIDv5 of the entity and the content.")
    entity_id: Mapped[UUID] = mapped_column(Uuid)
    signal_id: Mapped[UUID | None] = mapped_column(Uuid)
    title: Mapped[str] = mapped_column(String(255))
    text: Mapped[str] = mapped_column(Text)
    confidence: Mapped[Decimal] = mapped_column(Numeric(5, 4))
    extra: Mapped[dict[str, Any] | None] = mapped_column(JSONB, comment="Fields of the message that no column holds.")
    received_at: Mapped[datetime] = mapped_column(_moment, server_default=func.now())

    __table_args__ = (
        Index("ix_insights_signal_id", "signal_id", "received_at"),
        Index("ix_insights_waiting", "entity_id", postgresql_where=_WAITING),
    )


class User(Base):
    """The names of users, as the auth service's events told them."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(Boolean)
    sequence: Mapped[int] = mapped_column(Integer, comment="Of the last event heard of the user.")


class WaitingWorkflowState(Base):
    """The workflow state of a signal that is not here yet; its row takes it over when it comes."""

    __tablename__ = "waiting_workflow_states"

    signal_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    workflow_status: Mapped[AssignmentStatus] = mapped_column(_status)
    assignment_id: Mapped[UUID | None] = mapped_column(Uuid)
    assignee_id: Mapped[UUID | None] = mapped_column(Uuid)
    closed_at: Mapped[datetime | None] = mapped_column(_moment)
    workflow_sequence: Mapped[int] = mapped_column(Integer)
    received_at: Mapped[datetime] = mapped_column(_moment, server_default=func.now())


archived_signals: Final = Table(
    "archived_signals",
    Base.metadata,
    *(
        Column(column.name, column.type, nullable=column.nullable, primary_key=column.primary_key)
        for column in Signal.__table__.columns
    ),
    Index("ix_archived_signals_entity_id_detected_at", "entity_id", "detected_at"),
    comment="History older than the retention: the same columns as `signals`, whatever they become.",
)


class Recomputation(Base):
    """How far stored signals have been classified anew, so that the work can go on where it was interrupted.

    A row per scope: `settings` for all signals after the thresholds changed, `metric:<id>` for those of a metric whose
    registry entry changed. Asked for again, the scope begins anew.
    """

    __tablename__ = "recomputations"

    scope: Mapped[str] = mapped_column(String(110), primary_key=True)
    metric_id: Mapped[str | None] = mapped_column(String(100), comment="NULL for all metrics.")
    version: Mapped[str] = mapped_column(
        String(64), comment="What is classified by: a digest of the thresholds, or the metric's event sequence."
    )
    ready_after: Mapped[int | None] = mapped_column(
        BigInteger, comment="Transactions before this one may still classify by what was before; NULL until looked at."
    )
    history: Mapped[bool] = mapped_column(
        Boolean, server_default=false(), comment="Current signals come first, then those that a newer one replaced."
    )
    after_id: Mapped[UUID | None] = mapped_column(Uuid, comment="The last signal looked at; NULL at the beginning.")
    examined: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    changed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    requested_at: Mapped[datetime] = mapped_column(_moment, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(_moment, server_default=func.now())
    finished_at: Mapped[datetime | None] = mapped_column(_moment)


option_counts: Final = Table(
    "option_counts",
    Base.metadata,
    Column("id", Uuid, primary_key=True, comment="MD5 of the other columns but the count."),
    Column("facet", Text, nullable=False),
    Column("value", Text),
    Column("detail", Text, comment="A facility's id, a dimension's name."),
    Column("domain", _domain, nullable=False),
    Column("system_name", Text),
    Column("count", BigInteger, nullable=False),
    # Values may be longer than what a B-tree can hold.
    Index("ix_option_counts_value", "facet", text("hashtextextended(value, 0)")),
    comment="How many current signals have a value, in each domain and system.",
    postgresql_with={"fillfactor": "70"},
)
option_deltas: Final = Table(
    "option_deltas",
    Base.metadata,
    Column("facet", Text, nullable=False),
    Column("value", Text),
    Column("detail", Text),
    Column("domain", _domain, nullable=False),
    Column("system_name", Text),
    Column("delta", BigInteger, nullable=False),
    comment="Changes of the counts that are not folded into them yet.",
    postgresql_with={"autovacuum_vacuum_scale_factor": "0", "autovacuum_vacuum_threshold": "20000"},
)
