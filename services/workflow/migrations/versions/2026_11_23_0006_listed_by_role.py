"""Indexes for lists of what few assignments are: of a rare role, or put aside. Without them all were looked at.

Revision: 0006_listed_by_role
Follows: 0005_lasting_defaults
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006_listed_by_role"
down_revision: str | None = "0005_lasting_defaults"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply. Writers of assignments wait while the indexes are made, for a few seconds per million of them."""
    op.create_index("ix_assignments_role_type_created_at_id", "assignments", ["role_type", "created_at", "id"])
    op.create_index(
        "ix_assignments_snoozed",
        "assignments",
        ["created_at", "id"],
        postgresql_where=sa.text("snoozed_at IS NOT NULL"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_assignments_snoozed", table_name="assignments")
    op.drop_index("ix_assignments_role_type_created_at_id", table_name="assignments")
