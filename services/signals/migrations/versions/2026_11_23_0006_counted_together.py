"""Indexes for totals by several filters at once, and vacuum more often, on which counting by an index alone depends.

The lists by time and by priority have what a leader's own list is filtered by in their indexes: what does not match is
passed by there.

Revision ID: 0006_counted_together
Revises: 0005_outbox_channel
"""

from alembic import op

from shared.migrations import replace_indexes_v1

revision = "0006_counted_together"
down_revision = "0005_outbox_channel"
branch_labels = None
depends_on = None

_TOGETHER = "service_line, metric_id, workflow_status, domain, simplified_signal_type, magnitude_tier, assignee_id"
_PASSED_BY = "system_name, service_line, workflow_status"
_TIME = "detected_at, id"
_PRIORITY = "simplified_severity DESC NULLS LAST, detected_at DESC, id DESC"
_VACUUM = ("autovacuum_vacuum_scale_factor", "autovacuum_vacuum_insert_scale_factor")


def _current(columns: str) -> str:
    return f"({columns}) WHERE is_current"


def upgrade() -> None:
    """Apply, for about a minute per million signals, while they are read and written."""
    replace_indexes_v1(
        "signals",
        {
            "ix_signals_counted_by_system": _current(f"system_name, {_TOGETHER}, simplified_severity"),
            "ix_signals_counted_by_facility": _current(f"facility, {_TOGETHER}"),
            "ix_signals_list_detected_at": _current(f"{_TIME}, simplified_severity, {_PASSED_BY}"),
            "ix_signals_list_priority": _current(f"{_PRIORITY}, {_PASSED_BY}"),
        },
    )
    op.execute(f"ALTER TABLE signals SET ({', '.join(f'{name} = 0.05' for name in _VACUUM)})")


def downgrade() -> None:
    """Take back."""
    op.execute(f"ALTER TABLE signals RESET ({', '.join(_VACUUM)})")
    replace_indexes_v1(
        "signals",
        {
            "ix_signals_list_priority": _current(_PRIORITY),
            "ix_signals_list_detected_at": _current(_TIME),
            "ix_signals_counted_by_facility": None,
            "ix_signals_counted_by_system": None,
        },
    )
