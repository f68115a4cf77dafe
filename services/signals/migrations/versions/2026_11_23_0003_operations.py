"""What the operators' commands need: an archive of history, and recomputations in hand.

Revision ID: 0003_operations
Revises: 0002_option_counts
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003_operations"
down_revision = "0002_option_counts"
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


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "archived_signals",
        sa.Column("id", sa.Uuid(), nullable=False),
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
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
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
        sa.Column("entity_id", sa.Uuid(), nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column(
            "previous_signal_id",
            sa.Uuid(),
            nullable=True,
        ),
        sa.Column(
            "event_sequence",
            sa.Integer(),
            nullable=False,
        ),
        sa.Column(
            "content_hash",
            sa.LargeBinary(),
            nullable=True,
        ),
        sa.Column("extra", postgresql.JSONB(), nullable=True),
        sa.Column("polarity", _metric_polarity, nullable=True),
        sa.Column("period_count", sa.Integer(), nullable=True),
        sa.Column("suppressed", sa.Boolean(), nullable=False),
        sa.Column("magnitude_tier", _magnitude_tier, nullable=True),
        sa.Column("trajectory_tier", _trajectory_tier, nullable=True),
        sa.Column("consistency_tier", _consistency_tier, nullable=True),
        sa.Column(
            "engine_classified",
            sa.Boolean(),
            nullable=False,
        ),
        sa.Column(
            "engine_inputs",
            sa.Boolean(),
            nullable=False,
        ),
        sa.Column(
            "engine_polarity",
            sa.Boolean(),
            nullable=False,
        ),
        sa.Column("description_edited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("description_edited_by", sa.Uuid(), nullable=True),
        sa.Column("narrative_edited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("narrative_edited_by", sa.Uuid(), nullable=True),
        sa.Column("workflow_status", _assignment_status, nullable=False),
        sa.Column("assignment_id", sa.Uuid(), nullable=True),
        sa.Column("assignee_id", sa.Uuid(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "workflow_sequence",
            sa.Integer(),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_archived_signals")),
        comment="History older than the retention: the same columns as `signals`, whatever they become.",
    )
    op.create_index(
        "ix_archived_signals_entity_id_detected_at", "archived_signals", ["entity_id", "detected_at"], unique=False
    )
    op.create_table(
        "recomputations",
        sa.Column("scope", sa.String(length=110), nullable=False),
        sa.Column("metric_id", sa.String(length=100), nullable=True, comment="NULL for all metrics."),
        sa.Column(
            "version",
            sa.String(length=64),
            nullable=False,
            comment="What is classified by: a digest of the thresholds, or the metric's event sequence.",
        ),
        sa.Column(
            "ready_after",
            sa.BigInteger(),
            nullable=True,
            comment="Transactions before this one may still classify by what was before; NULL until looked at.",
        ),
        sa.Column(
            "history",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Current signals come first, then those that a newer one replaced.",
        ),
        sa.Column("after_id", sa.Uuid(), nullable=True, comment="The last signal looked at; NULL at the beginning."),
        sa.Column("examined", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("changed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_recomputations")),
    )


def downgrade() -> None:
    """Take back; what was archived goes back to the history first."""
    names = ", ".join(column["name"] for column in sa.inspect(op.get_bind()).get_columns("archived_signals"))
    op.execute(f"INSERT INTO signals ({names}) SELECT {names} FROM archived_signals")  # noqa: S608 - names of columns
    for table in ("recomputations", "archived_signals"):
        op.drop_table(table)
