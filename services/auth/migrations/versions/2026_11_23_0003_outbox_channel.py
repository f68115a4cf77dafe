"""What is published wakes this service's relay only, and not those of the services that share the database.

Revision: 0003_outbox_channel
Follows: c2d81e5f7b06
"""

from collections.abc import Sequence

from shared.migrations import notify_all_relays_v1, notify_own_channel_v2

revision: str = "0003_outbox_channel"
down_revision: str | None = "c2d81e5f7b06"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    notify_own_channel_v2()


def downgrade() -> None:
    """Take back."""
    notify_all_relays_v1()
