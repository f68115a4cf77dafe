"""All tables: the feed, reads, the audit log with its guards, and what every consumer and producer has.

Revision: 4786647fc474
Follows:
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from shared.migrations import create_outbox_trigger_v1

revision: str = "4786647fc474"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FIRST_HEAD = "INSERT INTO audit_head (last_hash) VALUES (decode(repeat('00', 32), 'hex'))"
FIRST_SWEEP = "INSERT INTO feed_read_sweep DEFAULT VALUES"

# What a row's hash is taken over. The array says unambiguously where one column ends and the next begins; times are
# microseconds since 1970, so that no session's time zone matters; jsonb has one text for one value.
AUDIT_CONTENT = """
CREATE FUNCTION audit_content_v1(
    "position" bigint, event_id uuid, topic text, source text, subject uuid, sequence integer, type text,
    "time" timestamptz, actor_id uuid, feed_type text, recorded_at timestamptz, envelope jsonb
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT convert_to(
        jsonb_build_array(
            $1, $2, $3, $4, $5, $6, $7, CAST(extract(epoch FROM $8) * 1000000 AS bigint), $9, $10,
            CAST(extract(epoch FROM $11) * 1000000 AS bigint), $12
        )::text,
        'UTF8'
    )
$$
"""

# hash(n) = SHA-256(hash(n - 1) || content(n)): `audit_chain_v1(start, content) OVER (ORDER BY position)` gives the
# hash of each row of a batch, `start` being the hash of the row before the batch.
AUDIT_LINK = """
CREATE FUNCTION audit_link_v1(previous bytea, start bytea, content bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT sha256(coalesce(previous, start) || content) $$
"""
AUDIT_CHAIN = "CREATE AGGREGATE audit_chain_v1(bytea, bytea) (sfunc = audit_link_v1, stype = bytea)"

REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$
"""
APPEND_ONLY = """
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""
APPEND_ONLY_ALWAYS = "ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_append_only"

# The schema's default privileges gave the runtime role all four on every table.
NARROW = (
    "REVOKE UPDATE, DELETE, TRUNCATE ON audit_log FROM compass_activity",
    "REVOKE INSERT, DELETE, TRUNCATE ON audit_head, feed_read_sweep FROM compass_activity",
)

DROP_FUNCTIONS = (
    "DROP FUNCTION refuse_change",
    "DROP AGGREGATE audit_chain_v1(bytea, bytea)",
    "DROP FUNCTION audit_link_v1",
    "DROP FUNCTION audit_content_v1",
    "DROP FUNCTION notify_outbox",
)


def upgrade() -> None:
    """Apply."""
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
        "activity_events",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False, comment="Event id."),
        sa.Column(
            "event_type",
            sa.Enum(
                "new_signal",
                "regression",
                "improvement",
                "insight",
                "technical_error",
                "assignment",
                "status_change",
                "comment",
                "intervention_activated",
                "intervention_outcome",
                name="activity_event_type",
            ),
            nullable=False,
        ),
        sa.Column("signal_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True, comment="Who did it; NULL for the system."),
        sa.Column(
            "payload",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="The event's data, as its producer sent it.",
        ),
        sa.Column(
            "read",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Whether any user has read it.",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="When it happened."),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="1..N in the order of commit."),
        sa.Column("source", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False, comment="Per source and subject, from 1."),
        sa.Column("type", sa.String(length=255), nullable=False, comment="The CloudEvents type."),
        sa.Column("summary", sa.Text(), nullable=True, comment="The producer's sentence."),
        sa.Column("correlation_id", sa.Text(), nullable=True, comment="Joins what one request or batch caused."),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activity_events")),
        sa.UniqueConstraint("position", name=op.f("uq_activity_events_position")),
    )
    op.create_index("ix_activity_events_created_at_id", "activity_events", ["created_at", "id"], unique=False)
    op.create_index(
        "ix_activity_events_event_type", "activity_events", ["event_type", "created_at", "id"], unique=False
    )
    op.create_index("ix_activity_events_signal_id", "activity_events", ["signal_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_activity_events_unread",
        "activity_events",
        ["read", "created_at"],
        unique=False,
        postgresql_where=sa.text("read = FALSE"),
    )
    op.create_index(
        "ix_activity_events_user_id",
        "activity_events",
        ["user_id", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("user_id IS NOT NULL"),
    )
    op.create_table(
        "audit_head",
        sa.Column("singleton", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("audit_position", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("feed_position", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_hash", sa.LargeBinary(), nullable=False, comment="32 zero bytes before the first row."),
        sa.CheckConstraint("singleton", name=op.f("ck_audit_head_one_row")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "audit_log",
        sa.Column(
            "position", sa.BigInteger(), autoincrement=False, nullable=False, comment="1..N in the order of commit."
        ),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("source", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False, comment="Per source and subject, from 1."),
        sa.Column("type", sa.String(length=255), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False, comment="When it happened."),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("feed_type", sa.Text(), nullable=True, comment="As the producer said, known here or not."),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("envelope", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="The whole event."),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False, comment="Of the row before."),
        sa.Column(
            "hash",
            sa.LargeBinary(),
            nullable=False,
            comment="SHA-256 of previous_hash and this row's audit_content_v1.",
        ),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_log")),
        sa.UniqueConstraint("subject", "source", "sequence", name=op.f("uq_audit_log_subject_source_sequence")),
    )
    op.create_index(
        "ix_audit_log_actor_id",
        "audit_log",
        ["actor_id", "position"],
        unique=False,
        postgresql_where=sa.text("actor_id IS NOT NULL"),
    )
    op.create_index("ix_audit_log_time", "audit_log", ["time"], unique=False, postgresql_using="brin")
    op.create_index("ix_audit_log_type", "audit_log", ["type", "position"], unique=False)
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
        "feed_read_sweep",
        sa.Column("singleton", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("position", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("singleton", name=op.f("ck_feed_read_sweep_one_row")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_feed_read_sweep")),
    )
    op.create_table(
        "feed_read_watermarks",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_feed_read_watermarks")),
    )
    op.create_table(
        "feed_reads",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="The event's."),
        sa.Column("read_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "event_id", name=op.f("pk_feed_reads")),
    )
    op.create_index("ix_feed_reads_user_id_position", "feed_reads", ["user_id", "position"], unique=False)
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
        "known_users",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "sequence", name=op.f("pk_known_users")),
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
        "sequence_gaps",
        sa.Column("source", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.Uuid(), nullable=False),
        sa.Column("first", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("noticed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("first >= 1 AND first <= last", name=op.f("ck_sequence_gaps_in_order")),
        sa.PrimaryKeyConstraint("source", "subject", "first", name=op.f("pk_sequence_gaps")),
    )
    op.create_index("ix_sequence_gaps_noticed_at", "sequence_gaps", ["noticed_at", "subject", "first"], unique=False)
    op.create_table(
        "verification_keys",
        sa.Column("kid", sa.String(length=100), nullable=False),
        sa.Column("public_jwk", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_verification_keys")),
        comment="The auth service's public keys, as its events told them.",
    )
    for statement in (
        FIRST_HEAD,
        FIRST_SWEEP,
        AUDIT_CONTENT,
        AUDIT_LINK,
        AUDIT_CHAIN,
        REFUSE_CHANGE,
        APPEND_ONLY,
        APPEND_ONLY_ALWAYS,
        *NARROW,
    ):
        op.execute(statement)
    create_outbox_trigger_v1()


def downgrade() -> None:
    """Take back."""
    op.drop_table("verification_keys")
    op.drop_index("ix_sequence_gaps_noticed_at", table_name="sequence_gaps")
    op.drop_table("sequence_gaps")
    op.drop_table("outbox")
    op.drop_table("known_users")
    op.drop_table("inbox")
    op.drop_index("ix_feed_reads_user_id_position", table_name="feed_reads")
    op.drop_table("feed_reads")
    op.drop_table("feed_read_watermarks")
    op.drop_table("feed_read_sweep")
    op.drop_table("event_sequences")
    op.drop_index("ix_dead_letters_rejected_at_id", table_name="dead_letters")
    op.drop_table("dead_letters")
    op.drop_index("ix_audit_log_type", table_name="audit_log")
    op.drop_index("ix_audit_log_time", table_name="audit_log", postgresql_using="brin")
    op.drop_index("ix_audit_log_actor_id", table_name="audit_log", postgresql_where=sa.text("actor_id IS NOT NULL"))
    op.drop_table("audit_log")
    op.drop_table("audit_head")
    op.drop_index(
        "ix_activity_events_user_id", table_name="activity_events", postgresql_where=sa.text("user_id IS NOT NULL")
    )
    op.drop_index("ix_activity_events_unread", table_name="activity_events", postgresql_where=sa.text("read = FALSE"))
    op.drop_index("ix_activity_events_signal_id", table_name="activity_events")
    op.drop_index("ix_activity_events_event_type", table_name="activity_events")
    op.drop_index("ix_activity_events_created_at_id", table_name="activity_events")
    op.drop_table("activity_events")
    op.drop_table("access_users")
    op.drop_index("ix_access_revocations_until", table_name="access_revocations")
    op.drop_table("access_revocations")
    op.execute("DROP TYPE activity_event_type")
    for statement in DROP_FUNCTIONS:
        op.execute(statement)
