"""Ownership rules with several values a condition, due dates, snoozing, and what the workload view measures.

Revision: 0002_ownership
Follows: eda9ed6a421d

The rules' columns of one value each go: no release has read or written this table, so that the code of the release
before runs on without them.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002_ownership"
down_revision: str | None = "eda9ed6a421d"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sa.DateTime(timezone=True)
TEXTS = postgresql.ARRAY(sa.Text())
SIGNAL_DOMAIN = postgresql.ENUM("Efficiency", "Safety", "Effectiveness", name="signal_domain", create_type=False)
LISTS = ("domains", "facilities", "system_names", "service_lines", "metric_ids", "signal_types")
SINGLE_VALUES = (
    ("domain", SIGNAL_DOMAIN),
    ("facility", sa.String(255)),
    ("system_name", sa.String(255)),
    ("service_line", sa.String(255)),
    ("metric_id", sa.String(100)),
    ("signal_type", sa.String(50)),
)
ASSIGNMENT_COLUMNS = (
    ("rule_version", sa.Integer(), "The rule's version that assigned it."),
    (
        "opened_at",
        MOMENT,
        "When the signal that it began with was first heard of; NULL for one from before this column.",
    ),
    ("due_reminded_at", MOMENT, "Reminded at the due date itself."),
    ("snoozed_at", MOMENT, None),
    ("snoozed_by", sa.Uuid(), None),
)


def upgrade() -> None:
    """To this revision."""
    _change_rules()
    for name, kind, comment in ASSIGNMENT_COLUMNS:
        op.add_column("assignments", sa.Column(name, kind, nullable=True, comment=comment))
    op.create_index(
        "ix_assignments_to_remind",
        "assignments",
        ["due_at"],
        postgresql_where=sa.text("status IN ('assigned', 'in_progress') AND escalated_at IS NULL"),
    )
    op.create_index(
        "ix_assignments_assigned_at",
        "assignments",
        ["assigned_at"],
        postgresql_include=["assignee_id", "role_type", "opened_at"],
    )
    op.create_index(
        "ix_assignments_resolved_at",
        "assignments",
        ["resolved_at"],
        postgresql_include=["assignee_id", "role_type", "assigned_at"],
    )
    op.add_column(
        "assignment_transitions",
        sa.Column("rule_id", sa.Uuid(), nullable=True, comment="The ownership rule that assigned it, if one did."),
    )
    op.add_column("assignment_transitions", sa.Column("rule_version", sa.Integer(), nullable=True))
    # First the column, then its default: what is there already was not heard of now.
    op.add_column(
        "known_signals",
        sa.Column(
            "heard_at", MOMENT, nullable=True, comment="When it came here; NULL for one from before this column."
        ),
    )
    op.alter_column("known_signals", "heard_at", server_default=sa.text("now()"))


def _change_rules() -> None:
    op.add_column("ownership_rules", sa.Column("name", sa.String(255), nullable=False, server_default=""))
    op.alter_column("ownership_rules", "name", server_default=None)
    op.add_column("ownership_rules", sa.Column("updated_by", sa.Uuid(), nullable=True))
    op.execute("UPDATE ownership_rules SET updated_by = created_by")
    op.alter_column("ownership_rules", "updated_by", nullable=False)
    for name in LISTS:
        comment = "Names or ids." if name == "facilities" else None
        op.add_column(
            "ownership_rules",
            sa.Column(name, TEXTS, nullable=False, server_default=sa.text("'{}'"), comment=comment),
        )
    for name, _ in SINGLE_VALUES:
        op.drop_column("ownership_rules", name)
    op.alter_column("ownership_rules", "position", comment="1..N among the rules that are not deleted.")
    op.drop_index("ix_ownership_rules_position", table_name="ownership_rules")
    op.create_exclude_constraint(
        "ex_ownership_rules_position",
        "ownership_rules",
        (sa.column("position"), "="),
        using="btree",
        where=sa.text("deleted_at IS NULL"),
        deferrable=True,
        initially="DEFERRED",
    )
    op.add_column(
        "ownership_rule_versions",
        sa.Column(
            "changed_by_name", sa.String(255), nullable=False, server_default="", comment="As it was at that time."
        ),
    )
    op.alter_column("ownership_rule_versions", "changed_by_name", server_default=None)


def downgrade() -> None:
    """Back to the revision before."""
    op.drop_column("known_signals", "heard_at")
    op.drop_column("assignment_transitions", "rule_version")
    op.drop_column("assignment_transitions", "rule_id")
    for index in ("ix_assignments_resolved_at", "ix_assignments_assigned_at", "ix_assignments_to_remind"):
        op.drop_index(index, table_name="assignments")
    for name, _, _ in reversed(ASSIGNMENT_COLUMNS):
        op.drop_column("assignments", name)
    op.drop_column("ownership_rule_versions", "changed_by_name")
    op.drop_constraint("ex_ownership_rules_position", "ownership_rules")
    op.alter_column("ownership_rules", "position", comment=None)
    op.create_index(
        "ix_ownership_rules_position", "ownership_rules", ["position"], postgresql_where=sa.text("deleted_at IS NULL")
    )
    for name, kind in SINGLE_VALUES:
        op.add_column("ownership_rules", sa.Column(name, kind, nullable=True))
    for name in reversed(LISTS):
        op.drop_column("ownership_rules", name)
    op.drop_column("ownership_rules", "updated_by")
    op.drop_column("ownership_rules", "name")
