"""What is needed to measure the outcomes of interventions, and a copy of the metrics' target ranges.

Revision: 0003_outcomes
Follows: 0002_ownership
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003_outcomes"
down_revision: str | None = "0002_ownership"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply. The table of interventions is empty: no release before this one writes it."""
    op.execute("ALTER TYPE intervention_outcome ADD VALUE IF NOT EXISTS 'not_enough_data'")
    op.add_column(
        "interventions",
        sa.Column(
            "window_begins_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Detections from here on are before.",
        ),
    )
    op.add_column(
        "interventions",
        sa.Column(
            "measure_by",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it is measured though no detection has reached the window's end.",
        ),
    )
    op.add_column(
        "interventions",
        sa.Column("measured_by_name", sa.String(length=255), nullable=True, comment="As it was at that time."),
    )
    op.add_column(
        "interventions",
        sa.Column(
            "measurement",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="The outcome as the API answers it.",
        ),
    )
    op.add_column(
        "interventions",
        sa.Column("created_by_name", sa.String(length=255), nullable=False, comment="As it was at that time."),
    )
    op.create_check_constraint(
        op.f("ck_interventions_measurement"), "interventions", "(measurement IS NULL) = (measured_at IS NULL)"
    )
    op.create_table(
        "known_metrics",
        sa.Column("metric_id", sa.String(length=100), nullable=False),
        sa.Column("target_low", sa.Numeric(precision=10, scale=4), nullable=True, comment="Both or neither."),
        sa.Column("target_high", sa.Numeric(precision=10, scale=4), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False, comment="Of the last event whose state is stored here."),
        sa.PrimaryKeyConstraint("metric_id", name=op.f("pk_known_metrics")),
    )


def downgrade() -> None:
    """Take back. PostgreSQL takes no value out of an enumeration: not_enough_data stays, unused."""
    op.drop_table("known_metrics")
    op.drop_constraint(op.f("ck_interventions_measurement"), "interventions")
    for column in ("created_by_name", "measurement", "measured_by_name", "measure_by", "window_begins_at"):
        op.drop_column("interventions", column)
