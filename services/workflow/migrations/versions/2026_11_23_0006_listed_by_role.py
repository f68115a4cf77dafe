"""Indexes for lists of what few assignments are: of a rare role, or put aside. Without them all were looked at.

Revision: 0006_listed_by_role
Follows: 0005_lasting_defaults
"""

from collections.abc import Sequence

from shared.migrations import replace_indexes_v1

revision: str = "0006_listed_by_role"
down_revision: str | None = "0005_lasting_defaults"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply, for a few seconds per million assignments, while they are read and written."""
    replace_indexes_v1(
        "assignments",
        {
            "ix_assignments_role_type_created_at_id": "(role_type, created_at, id)",
            "ix_assignments_snoozed": "(created_at, id) WHERE snoozed_at IS NOT NULL",
        },
    )


def downgrade() -> None:
    """Take back."""
    replace_indexes_v1("assignments", {"ix_assignments_snoozed": None, "ix_assignments_role_type_created_at_id": None})
