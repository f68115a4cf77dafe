"""Index paths for the list at a million signals: one order for ties, rare values, text in descriptions.

Every sort now ends in (detected_at, id), so that the index of a sort by a name serves the filter by that name in the
default sort too. Indexes of values that are rare hold only those: what is frequent is soon met in the sort's own index.

Revision ID: 0004_search
Revises: 0003_operations
"""

from alembic import op

revision = "0004_search"
down_revision = "0003_operations"
branch_labels = None
depends_on = None

_CURRENT = "is_current"
_RARE_TYPES = "is_current AND simplified_signal_type NOT IN ('baseline', 'improving_leader', 'emerging_risk')"
_RARE_TIERS = "is_current AND magnitude_tier IN ('critical', 'severe')"


def _create(name: str, columns: str, where: str | None, table: str = "signals", using: str = "btree") -> None:
    condition = "" if where is None else f" WHERE {where}"
    op.execute(f"CREATE INDEX {name} ON {table} USING {using} ({columns}){condition}")


def upgrade() -> None:
    """Apply. Ingest and reads wait while the indexes are made, for about a minute per million signals."""
    for name in ("facility", "metric_id", "priority"):
        op.drop_index(f"ix_signals_list_{name}", table_name="signals")
    _create("ix_signals_list_facility", "facility, detected_at, id", _CURRENT)
    _create("ix_signals_list_metric_id", "metric_id, detected_at, id", _CURRENT)
    _create("ix_signals_list_priority", "simplified_severity DESC NULLS LAST, detected_at DESC, id DESC", _CURRENT)
    _create("ix_signals_list_facility_id", "facility_id, detected_at, id", "is_current AND facility_id IS NOT NULL")
    _create(
        "ix_signals_list_sub_service_line",
        "sub_service_line, detected_at, id",
        "is_current AND sub_service_line IS NOT NULL",
    )
    _create("ix_signals_list_rare_type", "simplified_signal_type, detected_at, id", _RARE_TYPES)
    _create("ix_signals_list_rare_tier", "magnitude_tier, detected_at, id", _RARE_TIERS)
    _create("ix_signals_list_severe", "detected_at, id", "is_current AND simplified_severity >= 91")
    _create("ix_signals_list_assigned", "detected_at, id", "is_current AND assignee_id IS NOT NULL")
    _create("ix_signals_list_touched", "detected_at, id", "is_current AND workflow_status <> 'new'")
    _create("ix_signals_description", "description extensions.gin_trgm_ops", _CURRENT, using="gin")
    # Values may be longer than what a B-tree can hold.
    _create("ix_option_counts_value", "facet, hashtextextended(value, 0)", None, "option_counts")


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_option_counts_value", table_name="option_counts")
    for name in (
        *("description", "list_touched", "list_assigned", "list_severe", "list_rare_tier", "list_rare_type"),
        *("list_sub_service_line", "list_facility_id", "list_priority", "list_metric_id", "list_facility"),
    ):
        op.drop_index(f"ix_signals_{name}", table_name="signals")
    _create("ix_signals_list_facility", "facility, id", _CURRENT)
    _create("ix_signals_list_metric_id", "metric_id, id", _CURRENT)
    _create("ix_signals_list_priority", "simplified_severity DESC NULLS LAST, id DESC", _CURRENT)
