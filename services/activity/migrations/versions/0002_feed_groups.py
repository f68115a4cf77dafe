"""Bursts folded into groups, what the digest is made from, and snapshots in the audit log.

Revision: 0002_feed_groups
Follows: 4786647fc474
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002_feed_groups"
down_revision: str | None = "4786647fc474"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_FEED_TYPE = postgresql.ENUM(name="activity_event_type", create_type=False)
_NO_SNAPSHOT = "00000000-0000-0000-0000-000000000000"

# What the feed knows of an event besides what its columns say, from the event alone, so that it can be made again.
# Whoever writes an event may put anything into its data: what cannot be read is NULL and spoils no batch.
# A group is what one request of a person did, or what the system did of one kind in the same minute; work is given to
# each person apart, so that somebody's own is not lost in the work of many.
_FEED_FACTS = """
CREATE FUNCTION feed_facts_v1(
    event_id uuid, source text, type text, feed_type text, actor_id uuid, correlation_id text, "time" timestamptz,
    data jsonb
) RETURNS TABLE (group_id uuid, severity smallint, critical boolean, assignee_id uuid)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT
        CAST(md5(CAST(jsonb_build_array(
            $2, $3, $4, $5, found.assignee_id,
            CASE WHEN $5 IS NULL THEN CAST(floor(extract(epoch FROM $7) / 60) AS text)
                 ELSE coalesce($6, CAST($1 AS text)) END
        ) AS text)) AS uuid),
        found.severity,
        $4 = 'new_signal'
            AND (coalesce(found.severity, 0) >= 91 OR coalesce($8 #>> '{signal,magnitude_tier}', '') = 'critical'),
        found.assignee_id
    FROM (
        SELECT
            CASE WHEN told.severity ~ '^[0-9]{1,3}$' THEN CAST(told.severity AS smallint) END AS severity,
            CASE WHEN pg_input_is_valid(told.assignee_id, 'uuid') THEN CAST(told.assignee_id AS uuid) END AS assignee_id
        FROM (
            SELECT coalesce($8 #>> '{signal,simplified_severity}', $8 #>> '{label,severity}') AS severity,
                   CASE WHEN $4 = 'assignment' THEN $8 #>> '{assignment,assignee,user_id}' END AS assignee_id
        ) AS told
    ) AS found
$$
"""


def upgrade() -> None:
    """Apply. Events that are there, or that older code adds, are given their group by the running service."""
    op.add_column(
        "activity_events", sa.Column("group_id", sa.Uuid(), nullable=True, comment="The burst it is part of.")
    )
    op.add_column(
        "activity_events",
        sa.Column("severity", sa.SmallInteger(), nullable=True, comment="Of the signal, as the event says."),
    )
    op.add_column(
        "activity_events",
        sa.Column(
            "critical", sa.Boolean(), server_default=sa.text("false"), nullable=False, comment="A critical new signal."
        ),
    )
    op.add_column(
        "activity_events",
        sa.Column("assignee_id", sa.Uuid(), nullable=True, comment="To whom an assignment event gives the work."),
    )
    op.create_index(
        "ix_activity_events_group_id",
        "activity_events",
        ["group_id", "created_at", "id"],
        postgresql_include=["position"],
    )
    op.create_index(
        "ix_activity_events_ungrouped",
        "activity_events",
        ["position"],
        postgresql_where=sa.text("group_id IS NULL"),
    )
    op.create_index(
        "ix_activity_events_critical", "activity_events", ["created_at", "id"], postgresql_where=sa.text("critical")
    )
    op.create_index(
        "ix_activity_events_assignee_id",
        "activity_events",
        ["assignee_id", "created_at", "id"],
        postgresql_where=sa.text("assignee_id IS NOT NULL"),
    )
    op.create_table(
        "feed_groups",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Made from what its events have in common."),
        sa.Column("event_type", _FEED_TYPE, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True, comment="Who did all of it; NULL for the system."),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Of the event that opened it: its place in the feed, which never changes.",
        ),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_position", sa.BigInteger(), nullable=False, comment="The highest of its events."),
        sa.Column("first_event_id", sa.Uuid(), nullable=False, comment="The one that opened it."),
        sa.Column("worst_event_id", sa.Uuid(), nullable=False, comment="The most severe; the first of equals."),
        sa.Column("worst_severity", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed_groups")),
        comment="Runs of events that the grouped feed shows as one.",
    )
    op.create_index("ix_feed_groups_created_at_id", "feed_groups", ["created_at", "id"])
    op.create_index("ix_feed_groups_event_type", "feed_groups", ["event_type", "created_at", "id"])
    op.create_index(
        "ix_feed_groups_user_id",
        "feed_groups",
        ["user_id", "created_at", "id"],
        postgresql_where=sa.text("user_id IS NOT NULL"),
    )
    op.create_table(
        "known_assignments",
        sa.Column("assignment_id", sa.Uuid(), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False, comment="Time of the event that told this."),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="Of that event in the audit log."),
        sa.Column("signal_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("assignee_id", sa.Uuid(), nullable=True),
        sa.Column("assignee_name", sa.Text(), nullable=True),
        sa.Column("role_type", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("snoozed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("snoozed_until_worse", sa.Boolean(), nullable=False),
        sa.Column(
            "label", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="What the signal is called."
        ),
        sa.PrimaryKeyConstraint("assignment_id", name=op.f("pk_known_assignments")),
        comment="The last that was told of each assignment.",
    )
    op.create_index(
        "ix_known_assignments_due_at",
        "known_assignments",
        ["due_at"],
        postgresql_where=sa.text("status IN ('assigned', 'in_progress')"),
    )
    op.create_index(
        "ix_known_assignments_assignee_id",
        "known_assignments",
        ["assignee_id"],
        postgresql_where=sa.text("status IN ('assigned', 'in_progress')"),
    )
    op.add_column(
        "feed_reads",
        sa.Column(
            "flagged",
            sa.Boolean(),
            server_default=sa.text("true"),
            nullable=False,
            comment="Whether activity_events.read knows of it; many at once follow a little later.",
        ),
    )
    op.create_index("ix_feed_reads_unflagged", "feed_reads", ["event_id"], postgresql_where=sa.text("NOT flagged"))
    op.add_column(
        "audit_log",
        sa.Column(
            "snapshot_id",
            sa.Uuid(),
            server_default=sa.text(f"'{_NO_SNAPSHOT}'"),
            nullable=False,
            comment="The event's own id for a snapshot, which repeats a sequence; all zeros for an event.",
        ),
    )
    op.create_unique_constraint(
        "uq_audit_log_subject_source_sequence_snapshot_id",
        "audit_log",
        ["subject", "source", "sequence", "snapshot_id"],
    )
    op.drop_constraint("uq_audit_log_subject_source_sequence", "audit_log")
    op.execute(_FEED_FACTS)


def downgrade() -> None:
    """Take back, where no snapshot was audited: rows of the audit log cannot be removed."""
    op.execute("DROP FUNCTION feed_facts_v1")
    op.create_unique_constraint("uq_audit_log_subject_source_sequence", "audit_log", ["subject", "source", "sequence"])
    op.drop_constraint("uq_audit_log_subject_source_sequence_snapshot_id", "audit_log")
    op.drop_column("audit_log", "snapshot_id")
    op.drop_index("ix_feed_reads_unflagged", table_name="feed_reads")
    op.drop_column("feed_reads", "flagged")
    op.drop_table("known_assignments")
    op.drop_table("feed_groups")
    for index in ("assignee_id", "critical", "ungrouped", "group_id"):
        op.drop_index(f"ix_activity_events_{index}", table_name="activity_events")
    for column in ("assignee_id", "critical", "severity", "group_id"):
        op.drop_column("activity_events", column)
