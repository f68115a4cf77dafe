"""Names that later releases added as NOT NULL may be left out again by code that does not know them.

Revision: 0005_lasting_defaults
Follows: 0004_outbox_channel

`ownership_rules.updated_by`, `interventions.window_begins_at` and `measure_by` stay without one: none would be true,
and no release before them wrote these tables.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0005_lasting_defaults"
down_revision: str | None = "0004_outbox_channel"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAMES = (
    ("ownership_rules", "name"),
    ("ownership_rule_versions", "changed_by_name"),
    ("interventions", "created_by_name"),
)


def upgrade() -> None:
    """Apply."""
    for table, column in NAMES:
        op.alter_column(table, column, server_default="")


def downgrade() -> None:
    """Take back."""
    for table, column in NAMES:
        op.alter_column(table, column, server_default=None)
