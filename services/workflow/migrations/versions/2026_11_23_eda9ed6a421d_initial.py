"""All tables: assignments and their history, comments, interventions, rules, copies of signals and users.

Revision: eda9ed6a421d
Follows:
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from shared.migrations import create_outbox_trigger_v1

revision: str = "eda9ed6a421d"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INTERVENTION_KIND = postgresql.ENUM(
    "playbook", "protocol_change", "staffing", "education", "ai_agent", name="intervention_kind", create_type=False
)
INTERVENTION_OUTCOME = postgresql.ENUM(
    "improved", "unchanged", "worsened", name="intervention_outcome", create_type=False
)
SIGNAL_DOMAIN = postgresql.ENUM("Efficiency", "Safety", "Effectiveness", name="signal_domain", create_type=False)
METRIC_POLARITY = postgresql.ENUM(
    "lower_is_better", "higher_is_better", "target_range", name="metric_polarity", create_type=False
)
MAGNITUDE_TIER = postgresql.ENUM(
    "critical",
    "severe",
    "elevated",
    "marginal",
    "expected",
    "favorable",
    "excellent",
    name="magnitude_tier",
    create_type=False,
)
USER_ROLE = postgresql.ENUM(
    "admin",
    "clinical_leadership",
    "nursing_leadership",
    "administration",
    "viewer",
    name="user_role",
    create_type=False,
)
ROLE_TYPE = postgresql.ENUM(
    "clinical_leadership", "nursing_leadership", "administration", name="role_type", create_type=False
)
ASSIGNMENT_STATUS = postgresql.ENUM(
    "new", "assigned", "in_progress", "resolved", "closed", name="assignment_status", create_type=False
)
RESOLUTION_REASON = postgresql.ENUM(
    "improved",
    "data_quality",
    "accepted_risk",
    "duplicate",
    "not_actionable",
    name="resolution_reason",
    create_type=False,
)
TRANSITION_KIND = postgresql.ENUM(
    "assigned", "reassigned", "unassigned", "moved", "carried_over", name="transition_kind", create_type=False
)
TYPES = (
    INTERVENTION_KIND,
    INTERVENTION_OUTCOME,
    SIGNAL_DOMAIN,
    METRIC_POLARITY,
    MAGNITUDE_TIER,
    USER_ROLE,
    ROLE_TYPE,
    ASSIGNMENT_STATUS,
    RESOLUTION_REASON,
    TRANSITION_KIND,
)


def upgrade() -> None:
    """Apply."""
    for kind in TYPES:
        kind.create(op.get_bind())
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
        "comments",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("signal_id", sa.Uuid(), nullable=False),
        sa.Column("entity_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("author_name", sa.String(length=255), nullable=False, comment="As it was at that time."),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comments")),
    )
    op.create_index("ix_comments_entity_id_created_at_id", "comments", ["entity_id", "created_at", "id"], unique=False)
    op.create_index("ix_comments_signal_id", "comments", ["signal_id"], unique=False)
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
        sa.Column(
            "headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="[[name, base64 or null], ...]"
        ),
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
        "idempotency_keys",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False, comment="SHA-256 of method, path and body."),
        sa.Column("status", sa.SmallInteger(), nullable=True, comment="NULL only inside the first transaction."),
        sa.Column("etag", sa.String(length=100), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)
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
        "interventions",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("signal_id", sa.Uuid(), nullable=False),
        sa.Column("entity_id", sa.Uuid(), nullable=False),
        sa.Column("kind", INTERVENTION_KIND, nullable=False),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "window_ends_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the outcome is measured by itself.",
        ),
        sa.Column("value_before", sa.Numeric(precision=10, scale=4), nullable=True),
        sa.Column("value_after", sa.Numeric(precision=10, scale=4), nullable=True),
        sa.Column("outcome", INTERVENTION_OUTCOME, nullable=True),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("measured_by", sa.Uuid(), nullable=True, comment="NULL where it was measured by itself."),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(outcome IS NULL) = (measured_at IS NULL)", name=op.f("ck_interventions_measured")),
        sa.CheckConstraint("window_ends_at > started_at", name=op.f("ck_interventions_window")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_interventions")),
    )
    op.create_index(
        "ix_interventions_entity_id_started_at_id", "interventions", ["entity_id", "started_at", "id"], unique=False
    )
    op.create_index("ix_interventions_signal_id", "interventions", ["signal_id"], unique=False)
    op.create_index(
        "ix_interventions_window_ends_at",
        "interventions",
        ["window_ends_at"],
        unique=False,
        postgresql_where=sa.text("outcome IS NULL"),
    )
    op.create_table(
        "known_signals",
        sa.Column("signal_id", sa.Uuid(), nullable=False),
        sa.Column("entity_id", sa.Uuid(), nullable=False),
        sa.Column("detected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "is_current",
            sa.Boolean(),
            nullable=False,
            comment="The entity's latest detection known here; all others are superseded by it.",
        ),
        sa.Column(
            "was_current",
            sa.Boolean(),
            nullable=False,
            comment="Whether it was ever the latest where it comes from; what was not moves no assignment.",
        ),
        sa.Column("sequence", sa.Integer(), nullable=False, comment="Of the last event whose state is stored here."),
        sa.Column("metric_id", sa.String(length=100), nullable=False),
        sa.Column("domain", SIGNAL_DOMAIN, nullable=False),
        sa.Column("facility", sa.String(length=255), nullable=False),
        sa.Column("facility_id", sa.String(length=50), nullable=True),
        sa.Column("system_name", sa.String(length=255), nullable=True),
        sa.Column("service_line", sa.String(length=255), nullable=False),
        sa.Column("sub_service_line", sa.String(length=255), nullable=True),
        sa.Column("group_value", sa.String(length=500), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("metric_value", sa.Numeric(precision=10, scale=4), nullable=False),
        sa.Column("peer_mean", sa.Numeric(precision=10, scale=4), nullable=True),
        sa.Column("polarity", METRIC_POLARITY, nullable=False),
        sa.Column("signal_type", sa.String(length=50), nullable=False),
        sa.Column("severity", sa.SmallInteger(), nullable=False),
        sa.Column("magnitude_tier", MAGNITUDE_TIER, nullable=True),
        sa.PrimaryKeyConstraint("signal_id", name=op.f("pk_known_signals")),
    )
    op.create_index("ix_known_signals_detected_at", "known_signals", ["detected_at"], unique=False)
    op.create_index(
        "ix_known_signals_entity_id_detected_at", "known_signals", ["entity_id", "detected_at"], unique=False
    )
    op.create_index(
        "uq_known_signals_current", "known_signals", ["entity_id"], unique=True, postgresql_where=sa.text("is_current")
    )
    op.create_table(
        "known_users",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("role", USER_ROLE, nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False, comment="Of the last event whose state is stored here."),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_known_users")),
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
            postgresql.JSONB(astext_type=sa.Text()),
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
        "ownership_rules",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("domain", SIGNAL_DOMAIN, nullable=True),
        sa.Column("facility", sa.String(length=255), nullable=True),
        sa.Column("system_name", sa.String(length=255), nullable=True),
        sa.Column("service_line", sa.String(length=255), nullable=True),
        sa.Column("metric_id", sa.String(length=100), nullable=True),
        sa.Column("signal_type", sa.String(length=50), nullable=True),
        sa.Column("minimum_severity", sa.SmallInteger(), nullable=True),
        sa.Column("assignee_id", sa.Uuid(), nullable=False),
        sa.Column("role_type", ROLE_TYPE, nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "deleted_at", sa.DateTime(timezone=True), nullable=True, comment="Kept, since assignments name their rule."
        ),
        sa.CheckConstraint("minimum_severity BETWEEN 0 AND 100", name=op.f("ck_ownership_rules_minimum_severity")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ownership_rules")),
    )
    op.create_index(
        "ix_ownership_rules_position",
        "ownership_rules",
        ["position"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "verification_keys",
        sa.Column("kid", sa.String(length=100), nullable=False),
        sa.Column("public_jwk", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_verification_keys")),
        comment="The auth service's public keys, as its events told them.",
    )
    op.create_table(
        "assignments",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("signal_id", sa.Uuid(), nullable=False),
        sa.Column("assignee_id", sa.Uuid(), nullable=True),
        sa.Column("assigner_id", sa.Uuid(), nullable=True),
        sa.Column("status", ASSIGNMENT_STATUS, server_default="new", nullable=True),
        sa.Column("role_type", ROLE_TYPE, nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("resolution_notes", sa.Text(), nullable=True),
        sa.Column("assigned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=True),
        sa.Column("entity_id", sa.Uuid(), nullable=False),
        sa.Column(
            "version",
            sa.Integer(),
            server_default="1",
            nullable=False,
            comment="Counts the changes of the row; the API's ETag.",
        ),
        sa.Column("resolved_by", sa.Uuid(), nullable=True, comment="Who resolved it last; kept when it goes back."),
        sa.Column("resolution_reason", RESOLUTION_REASON, nullable=True),
        sa.Column("rule_id", sa.Uuid(), nullable=True, comment="The ownership rule that assigned it, if one did."),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reminded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("escalated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("snoozed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "snoozed_severity", sa.SmallInteger(), nullable=True, comment="Snoozed until the severity exceeds this."
        ),
        sa.ForeignKeyConstraint(["rule_id"], ["ownership_rules.id"], name=op.f("fk_assignments_rule_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignments")),
        sa.UniqueConstraint("signal_id", name=op.f("uq_assignments_signal_id")),
    )
    op.create_index(
        "ix_assignments_assignee_id_created_at_id", "assignments", ["assignee_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_assignments_assigner_id_created_at_id", "assignments", ["assigner_id", "created_at", "id"], unique=False
    )
    op.create_index("ix_assignments_created_at_id", "assignments", ["created_at", "id"], unique=False)
    op.create_index(
        "ix_assignments_due_at",
        "assignments",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('assigned', 'in_progress')"),
    )
    op.create_index("ix_assignments_entity_id", "assignments", ["entity_id"], unique=False)
    op.create_index(
        "ix_assignments_snoozed_until",
        "assignments",
        ["snoozed_until"],
        unique=False,
        postgresql_where=sa.text("snoozed_until IS NOT NULL"),
    )
    op.create_index("ix_assignments_status_created_at_id", "assignments", ["status", "created_at", "id"], unique=False)
    op.create_index(
        "uq_assignments_open_entity",
        "assignments",
        ["entity_id"],
        unique=True,
        postgresql_where=sa.text("status <> 'closed'"),
    )
    op.create_table(
        "ownership_rule_versions",
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "rule", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="The rule's columns by name."
        ),
        sa.Column("changed_by", sa.Uuid(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["rule_id"], ["ownership_rules.id"], name=op.f("fk_ownership_rule_versions_rule_id")),
        sa.PrimaryKeyConstraint("rule_id", "version", name=op.f("pk_ownership_rule_versions")),
    )
    op.create_table(
        "assignment_transitions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("assignment_id", sa.Uuid(), nullable=False),
        sa.Column("entity_id", sa.Uuid(), nullable=False),
        sa.Column(
            "signal_id",
            sa.Uuid(),
            nullable=False,
            comment="The detection that the assignment was at, after the change.",
        ),
        sa.Column(
            "previous_signal_id", sa.Uuid(), nullable=True, comment="The one before; only where it was carried over."
        ),
        sa.Column("kind", TRANSITION_KIND, nullable=False),
        sa.Column("from_status", ASSIGNMENT_STATUS, nullable=False),
        sa.Column("to_status", ASSIGNMENT_STATUS, nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True, comment="NULL for the system."),
        sa.Column("actor_name", sa.String(length=255), nullable=True, comment="As it was at that time."),
        sa.Column("assignee_id", sa.Uuid(), nullable=True, comment="After the change."),
        sa.Column("assignee_name", sa.String(length=255), nullable=True, comment="As it was at that time."),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("resolution_notes", sa.Text(), nullable=True),
        sa.Column("resolution_reason", RESOLUTION_REASON, nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["assignment_id"], ["assignments.id"], name=op.f("fk_assignment_transitions_assignment_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignment_transitions")),
    )
    op.create_index(
        "ix_assignment_transitions_assignment_id_id", "assignment_transitions", ["assignment_id", "id"], unique=False
    )
    op.create_index(
        "ix_assignment_transitions_entity_id_id", "assignment_transitions", ["entity_id", "id"], unique=False
    )
    op.create_index("ix_assignment_transitions_signal_id", "assignment_transitions", ["signal_id"], unique=False)
    create_outbox_trigger_v1()


def downgrade() -> None:
    """Take back."""
    op.drop_table("assignment_transitions")
    op.drop_table("ownership_rule_versions")
    op.drop_table("assignments")
    op.drop_table("verification_keys")
    op.drop_table("ownership_rules")
    op.drop_table("outbox")
    op.drop_table("known_users")
    op.drop_table("known_signals")
    op.drop_table("interventions")
    op.drop_table("inbox")
    op.drop_table("idempotency_keys")
    op.drop_table("event_sequences")
    op.drop_table("dead_letters")
    op.drop_table("comments")
    op.drop_table("access_users")
    op.drop_table("access_revocations")
    op.execute("DROP FUNCTION notify_outbox()")
    for kind in reversed(TYPES):
        kind.drop(op.get_bind())
