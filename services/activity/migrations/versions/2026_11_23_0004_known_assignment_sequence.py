"""What is known of an assignment is the last by number: clocks may step.

Revision: 0004_known_sequence
Follows: 0003_outbox_channel
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004_known_sequence"
down_revision: str | None = "0003_outbox_channel"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply. What is known from before gives way to the next event."""
    op.add_column(
        "known_assignments",
        sa.Column(
            "sequence",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Of that event, among those of the signal.",
        ),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("known_assignments", "sequence")
