"""An outbox is vacuumed after fewer rows: it kept what the first month had left until 20,000 more had gone through it.

Revision: 0004_outbox_vacuum
Follows: 0003_outbox_channel
"""

from collections.abc import Sequence

from shared.migrations import vacuum_outbox_v1, vacuum_outbox_v2

revision: str = "0004_outbox_vacuum"
down_revision: str | None = "0003_outbox_channel"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    vacuum_outbox_v2()


def downgrade() -> None:
    """Take back."""
    vacuum_outbox_v1()
