"""Indexes for totals by several filters at once, and vacuum more often, on which counting by an index alone depends.

The lists by time and by priority have what a leader's own list is filtered by in their indexes: what does not match is
passed by there.

Revision ID: 0006_counted_together
Revises: 0005_outbox_channel
"""

from alembic import op

revision = "0006_counted_together"
down_revision = "0005_outbox_channel"
branch_labels = None
depends_on = None

_TOGETHER = "service_line, metric_id, workflow_status, domain, simplified_signal_type, magnitude_tier, assignee_id"
_PASSED_BY = "system_name, service_line, workflow_status"
_SORTS = {
    "detected_at": ("detected_at, id", f", simplified_severity, {_PASSED_BY}"),
    "priority": ("simplified_severity DESC NULLS LAST, detected_at DESC, id DESC", f", {_PASSED_BY}"),
}
_VACUUM = ("autovacuum_vacuum_scale_factor", "autovacuum_vacuum_insert_scale_factor")


def _replace(columns: dict[str, str]) -> None:
    """Make all of them first: who drops an index keeps readers waiting until the end."""
    for sort, of in columns.items():
        op.execute(f"CREATE INDEX ix_signals_new_{sort} ON signals ({of}) WHERE is_current")
    for sort in columns:
        op.drop_index(f"ix_signals_list_{sort}", table_name="signals")
        op.execute(f"ALTER INDEX ix_signals_new_{sort} RENAME TO ix_signals_list_{sort}")


def upgrade() -> None:
    """Apply. Ingest waits while the indexes are made, for about a minute per million signals; reads at the end only."""
    for name, columns in (
        ("system", f"system_name, {_TOGETHER}, simplified_severity"),
        ("facility", f"facility, {_TOGETHER}"),
    ):
        op.execute(f"CREATE INDEX ix_signals_counted_by_{name} ON signals ({columns}) WHERE is_current")
    _replace({sort: order + passed_by for sort, (order, passed_by) in _SORTS.items()})
    op.execute(f"ALTER TABLE signals SET ({', '.join(f'{name} = 0.05' for name in _VACUUM)})")


def downgrade() -> None:
    """Take back."""
    op.execute(f"ALTER TABLE signals RESET ({', '.join(_VACUUM)})")
    _replace({sort: order for sort, (order, _) in _SORTS.items()})
    op.drop_index("ix_signals_counted_by_facility", table_name="signals")
    op.drop_index("ix_signals_counted_by_system", table_name="signals")
