"""All tables of the signals service.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from shared.migrations import create_outbox_trigger_v1

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _enum(name: str, values: str) -> postgresql.ENUM:
    return postgresql.ENUM(*values.split(), name=name, create_type=False)


_signal_domain = _enum("signal_domain", "Efficiency Safety Effectiveness")
_metric_polarity = _enum("metric_polarity", "lower_is_better higher_is_better target_range")
_magnitude_tier = _enum("magnitude_tier", "critical severe elevated marginal expected favorable excellent")
_trajectory_tier = _enum("trajectory_tier", "rapidly_deteriorating deteriorating stable improving rapidly_improving")
_consistency_tier = _enum("consistency_tier", "persistent variable transient")
_assignment_status = _enum("assignment_status", "new assigned in_progress resolved closed")
_ENUMS = (_signal_domain, _metric_polarity, _magnitude_tier, _trajectory_tier, _consistency_tier, _assignment_status)

_TABLES = (
    *("signals", "metrics", "insights", "users", "waiting_workflow_states"),
    *("outbox", "event_sequences", "inbox", "dead_letters"),
    *("verification_keys", "access_revocations", "access_users"),
)


def upgrade() -> None:
    """Apply."""
    for enum in _ENUMS:
        enum.create(op.get_bind())
    op.create_table(
        "access_revocations",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column(
            "session_id",
            sa.Uuid(),
            server_default=sa.text("'00000000-0000-0000-0000-000000000000'"),
            nullable=False,
            comment="All zeros for every session of the user.",
        ),
        sa.Column("issued_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "session_id", name=op.f("pk_access_revocations")),
        comment="Tokens that are refused though they have not expired.",
    )
    op.create_index("ix_access_revocations_until", "access_revocations", ["until"], unique=False)
    op.create_table(
        "access_users",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_access_users")),
        comment="The last event heard of each user, so that an older one changes nothing.",
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUIDv5 of group, topic, partition and offset."),
        sa.Column("consumer_group", sa.String(length=100), nullable=False),
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(length=50), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("headers", postgresql.JSONB(), nullable=False, comment="[[name, base64 or null], ...]"),
        sa.Column(
            "appended_at", sa.DateTime(timezone=True), nullable=False, comment="When the broker took the message."
        ),
        sa.Column("rejected_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("replayed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
        sa.UniqueConstraint(
            "consumer_group",
            "topic",
            "partition",
            "offset",
            name=op.f("uq_dead_letters_consumer_group_topic_partition_offset"),
        ),
        comment="Messages that could not be processed, with their bytes and the reason.",
    )
    op.create_index("ix_dead_letters_rejected_at_id", "dead_letters", ["rejected_at", "id"], unique=False)
    op.create_table(
        "event_sequences",
        sa.Column("subject", sa.Uuid(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_event_sequences")),
        comment="The last sequence number given to an event of each subject.",
    )
    op.create_table(
        "inbox",
        sa.Column("consumer_group", sa.String(length=100), nullable=False),
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column(
            "last_timestamp",
            sa.BigInteger(),
            nullable=False,
            comment="Broker's append time of the last message, in ms.",
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("consumer_group", "topic", "partition", name=op.f("pk_inbox")),
        comment="How far each partition's effects are stored; locked while a batch is processed.",
    )
    op.create_table(
        "insights",
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUIDv5 of the entity and the content."),
        sa.Column("entity_id", sa.Uuid(), nullable=False),
        sa.Column("signal_id", sa.Uuid(), nullable=True),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Numeric(precision=5, scale=4), nullable=False),
        sa.Column("extra", postgresql.JSONB(), nullable=True, comment="Fields of the message that no column holds."),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_insights")),
    )
    op.create_index("ix_insights_signal_id", "insights", ["signal_id", "received_at"], unique=False)
    op.create_index(
        "ix_insights_waiting", "insights", ["entity_id"], unique=False, postgresql_where=sa.text("signal_id IS NULL")
    )
    op.create_table(
        "metrics",
        sa.Column("metric_id", sa.String(length=100), nullable=False),
        sa.Column("display_name", sa.String(length=255), nullable=False),
        sa.Column("domain", _signal_domain, nullable=True),
        sa.Column("unit", sa.String(length=50), nullable=True),
        sa.Column("polarity", _metric_polarity, nullable=False),
        sa.Column(
            "target_low", sa.Numeric(precision=10, scale=4), nullable=True, comment="Both or neither; for target_range."
        ),
        sa.Column("target_high", sa.Numeric(precision=10, scale=4), nullable=True),
        sa.Column("event_sequence", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("metric_id", name=op.f("pk_metrics")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column(
            "key",
            sa.LargeBinary(),
            nullable=True,
            comment="The message's key; NULL as received, for a dead letter without one.",
        ),
        sa.Column(
            "value",
            sa.LargeBinary(),
            nullable=True,
            comment="The message's bytes; NULL only for a dead letter that had none.",
        ),
        sa.Column(
            "headers",
            postgresql.JSONB(),
            nullable=True,
            comment="[[name, base64 or null], ...]; NULL for a plain event.",
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        comment="Messages that wait for the relay; a row is deleted once Kafka has acknowledged it.",
        postgresql_with={
            "autovacuum_vacuum_scale_factor": "0",
            "autovacuum_vacuum_threshold": "20000",
            "autovacuum_vacuum_insert_scale_factor": "0",
            "autovacuum_vacuum_insert_threshold": "200000",
        },
    )
    op.create_table(
        "signals",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("canonical_node_id", sa.String(length=255), nullable=False),
        sa.Column("metric_id", sa.String(length=100), nullable=False),
        sa.Column("domain", _signal_domain, nullable=False),
        sa.Column("facility", sa.String(length=255), nullable=False),
        sa.Column("facility_id", sa.String(length=50), nullable=True),
        sa.Column("system_name", sa.String(length=255), nullable=True),
        sa.Column("service_line", sa.String(length=255), nullable=False),
        sa.Column("sub_service_line", sa.String(length=255), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("metric_value", sa.Numeric(precision=10, scale=4), nullable=False),
        sa.Column("peer_mean", sa.Numeric(precision=10, scale=4), nullable=True),
        sa.Column("peer_std", sa.Numeric(precision=10, scale=4), nullable=True),
        sa.Column("percentile_rank", sa.Numeric(precision=5, scale=2), nullable=True),
        sa.Column("encounters", sa.Integer(), nullable=True),
        sa.Column("detected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=True),
        sa.Column("simplified_signal_type", sa.String(length=50), nullable=True),
        sa.Column("simplified_severity", sa.Integer(), nullable=True),
        sa.Column("simplified_severity_range", postgresql.JSONB(), nullable=True),
        sa.Column("simplified_inputs", postgresql.JSONB(), nullable=True),
        sa.Column("simplified_indicators", postgresql.JSONB(), nullable=True),
        sa.Column("simplified_reasoning", sa.Text(), nullable=True),
        sa.Column("simplified_severity_calculation", postgresql.JSONB(), nullable=True),
        sa.Column("entity_dimensions", postgresql.JSONB(), nullable=True),
        sa.Column("entity_dimensions_hash", sa.String(length=32), nullable=False),
        sa.Column("groupby_label", sa.String(length=255), nullable=True),
        sa.Column("group_value", sa.String(length=500), nullable=True),
        sa.Column("temporal_node_id", sa.String(length=255), nullable=True),
        sa.Column("metric_trend_timeline", postgresql.JSONB(), nullable=True),
        sa.Column("trend_direction", sa.String(length=20), nullable=True),
        sa.Column("metadata_per_period", postgresql.JSONB(), nullable=True),
        sa.Column("peer_percentile_trends", postgresql.JSONB(), nullable=True),
        sa.Column("annual_excess_cost", sa.Numeric(precision=12, scale=2), nullable=True),
        sa.Column("excess_los_days", sa.Numeric(precision=10, scale=2), nullable=True),
        sa.Column("capacity_impact_bed_days", sa.Numeric(precision=10, scale=4), nullable=True),
        sa.Column("expected_metric_value", sa.Numeric(precision=10, scale=4), nullable=True),
        sa.Column("why_matters_narrative", sa.Text(), nullable=True),
        sa.Column(
            "entity_id", sa.Uuid(), nullable=False, comment="UUIDv5 of node, metric, facility id and dimensions hash."
        ),
        sa.Column("is_current", sa.Boolean(), nullable=False, comment="The entity's latest detection by detected_at."),
        sa.Column(
            "previous_signal_id",
            sa.Uuid(),
            nullable=True,
            comment="The entity's detection before this one by detected_at, as known when this one arrived.",
        ),
        sa.Column(
            "event_sequence",
            sa.Integer(),
            nullable=False,
            comment="Sequence of the last event published about the row.",
        ),
        sa.Column(
            "content_hash",
            sa.LargeBinary(),
            nullable=True,
            comment="Digest of the message that the row was last made from; the same one changes nothing.",
        ),
        sa.Column("extra", postgresql.JSONB(), nullable=True, comment="Fields of the message that no column holds."),
        sa.Column("polarity", _metric_polarity, nullable=True, comment="The one that was classified by."),
        sa.Column("period_count", sa.Integer(), nullable=True),
        sa.Column("suppressed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("magnitude_tier", _magnitude_tier, nullable=True),
        sa.Column("trajectory_tier", _trajectory_tier, nullable=True),
        sa.Column("consistency_tier", _consistency_tier, nullable=True),
        sa.Column(
            "engine_classified",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="The engine sent type and severity: never reclassified.",
        ),
        sa.Column(
            "engine_inputs",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="The engine sent the five inputs: kept when reclassified.",
        ),
        sa.Column(
            "engine_polarity",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="The engine sent the polarity: the registry does not change it.",
        ),
        sa.Column("description_edited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("description_edited_by", sa.Uuid(), nullable=True),
        sa.Column("narrative_edited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("narrative_edited_by", sa.Uuid(), nullable=True),
        sa.Column("workflow_status", _assignment_status, server_default="new", nullable=False),
        sa.Column("assignment_id", sa.Uuid(), nullable=True),
        sa.Column("assignee_id", sa.Uuid(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "workflow_sequence",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Sequence of the last event of the workflow service heard of it.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signals")),
        sa.UniqueConstraint(
            "canonical_node_id",
            "metric_id",
            "facility_id",
            "entity_dimensions_hash",
            "detected_at",
            name="uq_signals_identity",
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index("ix_signals_detected_at", "signals", ["detected_at"], unique=False)
    op.create_index("ix_signals_domain", "signals", ["domain"], unique=False)
    op.create_index(
        "ix_signals_entity_dimensions", "signals", ["entity_dimensions"], unique=False, postgresql_using="gin"
    )
    op.create_index("ix_signals_facility", "signals", ["facility"], unique=False)
    op.create_index(
        "ix_signals_history",
        "signals",
        ["entity_id", "detected_at"],
        unique=False,
        postgresql_where=sa.text("NOT is_current"),
    )
    op.create_index(
        "ix_signals_list_assignee",
        "signals",
        ["assignee_id", "detected_at", "id"],
        unique=False,
        postgresql_where=sa.text("is_current AND assignee_id IS NOT NULL"),
    )
    op.create_index(
        "ix_signals_list_detected_at",
        "signals",
        ["detected_at", "id"],
        unique=False,
        postgresql_where=sa.text("is_current"),
    )
    op.create_index(
        "ix_signals_list_facility", "signals", ["facility", "id"], unique=False, postgresql_where=sa.text("is_current")
    )
    op.create_index(
        "ix_signals_list_metric_id",
        "signals",
        ["metric_id", "id"],
        unique=False,
        postgresql_where=sa.text("is_current"),
    )
    op.create_index(
        "ix_signals_list_priority",
        "signals",
        [sa.literal_column("simplified_severity DESC NULLS LAST"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("is_current"),
    )
    op.create_index(
        "ix_signals_list_status",
        "signals",
        ["workflow_status", "detected_at", "id"],
        unique=False,
        postgresql_where=sa.text("is_current AND workflow_status <> 'new'"),
    )
    op.create_index("ix_signals_metric_id", "signals", ["metric_id"], unique=False)
    op.create_index("ix_signals_service_line", "signals", ["service_line"], unique=False)
    op.create_index("ix_signals_simplified_severity", "signals", ["simplified_severity"], unique=False)
    op.create_index("ix_signals_simplified_signal_type", "signals", ["simplified_signal_type"], unique=False)
    op.create_index("ix_signals_system_name", "signals", ["system_name"], unique=False)
    op.create_index(
        "uq_signals_current_entity", "signals", ["entity_id"], unique=True, postgresql_where=sa.text("is_current")
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False, comment="Of the last event heard of the user."),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_table(
        "verification_keys",
        sa.Column("kid", sa.String(length=100), nullable=False),
        sa.Column("public_jwk", postgresql.JSONB(), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_verification_keys")),
        comment="The auth service's public keys, as its events told them.",
    )
    op.create_table(
        "waiting_workflow_states",
        sa.Column("signal_id", sa.Uuid(), nullable=False),
        sa.Column("workflow_status", _assignment_status, nullable=False),
        sa.Column("assignment_id", sa.Uuid(), nullable=True),
        sa.Column("assignee_id", sa.Uuid(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workflow_sequence", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("signal_id", name=op.f("pk_waiting_workflow_states")),
    )
    create_outbox_trigger_v1()


def downgrade() -> None:
    """Take back."""
    for table in _TABLES:
        op.drop_table(table)
    op.execute("DROP FUNCTION notify_outbox()")
    for enum in _ENUMS:
        enum.drop(op.get_bind())
