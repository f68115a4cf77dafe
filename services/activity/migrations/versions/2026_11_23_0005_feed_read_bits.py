"""What users have read above their watermark is bits by position, not a row an event.

Revision: 0005_feed_read_bits
Follows: 0004_known_sequence
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0005_feed_read_bits"
down_revision: str | None = "0004_known_sequence"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# In the order of blocks: two requests of a user must not wait for each other in a circle.
_NOTE = """
    INSERT INTO feed_read_bits AS known (user_id, block, bits, flagged)
    SELECT user_id, position / 1024, bit_or(set_bit(CAST(B'0' AS bit(1024)), CAST(position % 1024 AS integer), 1)),
           bool_and(flagged)
    FROM {reads} GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (user_id, block) DO UPDATE
    SET bits = known.bits | excluded.bits, flagged = known.flagged AND excluded.flagged
"""


def upgrade() -> None:
    """Apply, with what is known. Instances of before go on with rows: what they add is noted as bits as well."""
    op.create_table(
        "feed_read_bits",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False, comment="Of positions from 1024 * block on."),
        sa.Column("bits", postgresql.BIT(length=1024), nullable=False, comment="Bit n: position 1024 * block + n."),
        sa.Column(
            "count",
            sa.Integer(),
            sa.Computed("CAST(bit_count(bits) AS integer)", persisted=True),
            nullable=False,
            comment="Bits set.",
        ),
        sa.Column(
            "flagged",
            sa.Boolean(),
            nullable=False,
            comment="Whether activity_events.read knows of it; many at once follow a little later.",
        ),
        sa.PrimaryKeyConstraint("user_id", "block", name=op.f("pk_feed_read_bits")),
        comment="What users have read above their watermark.",
    )
    op.create_index("ix_feed_read_bits_unflagged", "feed_read_bits", ["block"], postgresql_where=sa.text("NOT flagged"))
    # Before the rows are read: it waits for who is adding some, and whoever adds some later sets bits as well.
    op.execute(
        f"""
        CREATE FUNCTION note_feed_reads() RETURNS trigger LANGUAGE plpgsql AS $body$
        BEGIN
            {_NOTE.format(reads="added")};
            RETURN NULL;
        END
        $body$
        """
    )
    op.execute(
        "CREATE TRIGGER note_bits AFTER INSERT ON feed_reads REFERENCING NEW TABLE AS added "
        "FOR EACH STATEMENT EXECUTE FUNCTION note_feed_reads()"
    )
    op.execute(_NOTE.format(reads="feed_reads"))


def downgrade() -> None:
    """Take back; what was read since is unread again above the watermarks."""
    op.execute("DROP TRIGGER note_bits ON feed_reads")
    op.execute("DROP FUNCTION note_feed_reads")
    op.drop_table("feed_read_bits")
