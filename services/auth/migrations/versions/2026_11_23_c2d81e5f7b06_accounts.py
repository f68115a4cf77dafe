"""Versions of accounts, initial passwords, and answers to repeated writes.

Revision: c2d81e5f7b06
Follows: b1f0c7d2a934
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "c2d81e5f7b06"
down_revision: str | None = "b1f0c7d2a934"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_SCOPE_BEFORE = "address, or account_address: one account from one address."
_SCOPE = "address, account, or account_address: one account from one address."


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "users",
        sa.Column(
            "version",
            sa.Integer(),
            server_default=sa.text("1"),
            nullable=False,
            comment="Counts the changes: the ETag.",
        ),
    )
    op.add_column(
        "users",
        sa.Column(
            "initial_password_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="The password was made by the system, has to be replaced at the first login, and is good for that "
            "until then; NULL for a password that its owner chose.",
        ),
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
    op.alter_column(
        "login_throttles", "scope", existing_type=sa.String(length=20), comment=_SCOPE, existing_comment=_SCOPE_BEFORE
    )


def downgrade() -> None:
    """Take back."""
    op.alter_column(
        "login_throttles", "scope", existing_type=sa.String(length=20), comment=_SCOPE_BEFORE, existing_comment=_SCOPE
    )
    op.drop_index("ix_idempotency_keys_created_at", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_column("users", "initial_password_until")
    op.drop_column("users", "version")
