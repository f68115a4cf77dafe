"""Counts of the current signals by what they can be filtered by, kept by triggers; remembered answers.

Triggers see every change, whoever makes it and how: COPY, an older version of the service that still runs, a repair by
hand. They append what a statement changed, which holds up nobody; the service's worker folds it into the counts.

Revision ID: 0002_option_counts
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002_option_counts"
down_revision = "0001"
branch_labels = None
depends_on = None

_signal_domain = postgresql.ENUM(name="signal_domain", create_type=False)

# A dimension that is no object was never ingested, but must not stop a statement if somebody wrote one.
_FACETS = """
    CROSS JOIN LATERAL (
        VALUES
            ('signal', NULL, NULL),
            ('facility', s.facility, s.facility_id),
            ('service_line', s.service_line, NULL),
            ('sub_service_line', s.sub_service_line, NULL),
            ('metric_id', s.metric_id, NULL),
            ('signal_type', s.simplified_signal_type, NULL),
            ('severity', (ARRAY[0, 13, 26, 60, 71, 81, 91])
                [width_bucket(s.simplified_severity, ARRAY[0, 13, 26, 60, 71, 81, 91])]::text, NULL),
            ('magnitude_tier', s.magnitude_tier::text, NULL),
            ('trajectory_tier', s.trajectory_tier::text, NULL),
            ('consistency_tier', s.consistency_tier::text, NULL),
            ('status', s.workflow_status::text, NULL),
            ('assignee_id', s.assignee_id::text, NULL)
        UNION ALL
        SELECT 'dimension', d.value, d.key
        FROM jsonb_each_text(CASE WHEN jsonb_typeof(s.entity_dimensions) = 'object' THEN s.entity_dimensions END) AS d
    ) AS f (facet, value, detail)
    WHERE s.is_current
"""
_APPEND = "INSERT INTO option_deltas (facet, value, detail, domain, system_name, delta)"
_KEY = "f.facet, f.value, f.detail, s.domain, s.system_name"

_COUNT_FUNCTION = f"""
CREATE FUNCTION current_option_counts()
RETURNS TABLE (facet text, value text, detail text, domain signal_domain, system_name text, count bigint)
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT {_KEY}, count(*) FROM signals AS s {_FACETS} GROUP BY {_KEY}
$$
"""  # noqa: S608 - constants
_TRIGGER_FUNCTION = f"""
CREATE FUNCTION append_option_deltas() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        {_APPEND} SELECT {_KEY}, count(*) FROM added AS s {_FACETS} GROUP BY {_KEY};
    ELSIF TG_OP = 'DELETE' THEN
        {_APPEND} SELECT {_KEY}, -count(*) FROM removed AS s {_FACETS} GROUP BY {_KEY};
    ELSE
        {_APPEND}
        SELECT c.facet, c.value, c.detail, c.domain, c.system_name, sum(c.change)
        FROM (
            SELECT {_KEY}, 1 AS change FROM added AS s {_FACETS}
            UNION ALL
            SELECT {_KEY}, -1 FROM removed AS s {_FACETS}
        ) AS c
        GROUP BY c.facet, c.value, c.detail, c.domain, c.system_name
        HAVING sum(c.change) <> 0;
    END IF;
    RETURN NULL;
END
$$
"""  # noqa: S608 - constants
_TRIGGERS = {
    "INSERT": "NEW TABLE AS added",
    "UPDATE": "NEW TABLE AS added OLD TABLE AS removed",
    "DELETE": "OLD TABLE AS removed",
}


def upgrade() -> None:
    """Apply. Creating the triggers makes writers wait until what is there already has been counted."""
    op.create_table(
        "option_counts",
        sa.Column("id", sa.Uuid(), nullable=False, comment="MD5 of the other columns but the count."),
        sa.Column("facet", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True, comment="A facility's id, a dimension's name."),
        sa.Column("domain", _signal_domain, nullable=False),
        sa.Column("system_name", sa.Text(), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_option_counts")),
        comment="How many current signals have a value, in each domain and system.",
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "option_deltas",
        sa.Column("facet", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("domain", _signal_domain, nullable=False),
        sa.Column("system_name", sa.Text(), nullable=True),
        sa.Column("delta", sa.BigInteger(), nullable=False),
        comment="Changes of the counts that are not folded into them yet.",
        postgresql_with={"autovacuum_vacuum_scale_factor": "0", "autovacuum_vacuum_threshold": "20000"},
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False, comment="SHA-256 of method, path and body."),
        sa.Column("status", sa.SmallInteger(), nullable=True, comment="NULL only inside the first transaction."),
        sa.Column("etag", sa.String(length=100), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)
    op.execute(_COUNT_FUNCTION)
    op.execute(_TRIGGER_FUNCTION)
    for event, tables in _TRIGGERS.items():
        op.execute(
            f"CREATE TRIGGER option_deltas_{event.lower()} AFTER {event} ON signals REFERENCING {tables} "
            "FOR EACH STATEMENT EXECUTE FUNCTION append_option_deltas()"
        )
    op.execute(f"{_APPEND} SELECT * FROM current_option_counts()")  # noqa: S608 - constants


def downgrade() -> None:
    """Take back."""
    for event in _TRIGGERS:
        op.execute(f"DROP TRIGGER option_deltas_{event.lower()} ON signals")
    op.execute("DROP FUNCTION append_option_deltas()")
    op.execute("DROP FUNCTION current_option_counts()")
    for table in ("idempotency_keys", "option_deltas", "option_counts"):
        op.drop_table(table)
