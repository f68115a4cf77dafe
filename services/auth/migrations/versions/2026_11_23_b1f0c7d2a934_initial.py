"""All tables of the auth service.

Revision: b1f0c7d2a934
Follows: nothing
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from shared import migrations

revision: str = "b1f0c7d2a934"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "event_sequences",
        sa.Column("subject", sa.Uuid(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_event_sequences")),
        comment="The last sequence number given to an event of each subject.",
    )
    op.create_table(
        "login_throttles",
        sa.Column(
            "scope",
            sa.String(length=20),
            nullable=False,
            comment="address, or account_address: one account from one address.",
        ),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False, comment="SHA-256 of what the scope names."),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("blocked_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("scope", "key_hash", name=op.f("pk_login_throttles")),
    )
    op.create_index("ix_login_throttles_last_failed_at", "login_throttles", ["last_failed_at"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column(
            "key",
            sa.LargeBinary(),
            nullable=True,
            comment="The message's key; NULL as received, for a dead letter without one.",
        ),
        sa.Column(
            "value",
            sa.LargeBinary(),
            nullable=True,
            comment="The message's bytes; NULL only for a dead letter that had none.",
        ),
        sa.Column(
            "headers",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="[[name, base64 or null], ...]; NULL for a plain event.",
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        comment="Messages that wait for the relay; a row is deleted once Kafka has acknowledged it.",
        postgresql_with={
            "autovacuum_vacuum_scale_factor": "0",
            "autovacuum_vacuum_threshold": "20000",
            "autovacuum_vacuum_insert_scale_factor": "0",
            "autovacuum_vacuum_insert_threshold": "200000",
        },
    )
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.String(length=100), nullable=False),
        sa.Column("public_jwk", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "encrypted_private_key",
            sa.LargeBinary(),
            nullable=False,
            comment="Nonce and AES-256-GCM ciphertext of the PKCS #8 form, under the data key.",
        ),
        sa.Column(
            "encrypted_data_key",
            sa.LargeBinary(),
            nullable=False,
            comment="Nonce and AES-256-GCM ciphertext of the data key, under the key from the environment.",
        ),
        sa.Column(
            "encrypted_with",
            sa.String(length=16),
            nullable=False,
            comment="Which key from the environment that is: the start of its SHA-256.",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "signs_from",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Published before, so that every verifier knows it by then.",
        ),
        sa.Column("verifies_until", sa.DateTime(timezone=True), nullable=True, comment="NULL while it signs or will."),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_keys")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column(
            "hashed_password",
            sa.String(length=255),
            nullable=True,
            comment="NULL for an account that has no password yet and cannot log in.",
        ),
        sa.Column(
            "role",
            sa.Enum("admin", "clinical_leadership", "nursing_leadership", "administration", "viewer", name="user_role"),
            nullable=False,
        ),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=True),
        sa.Column(
            "tokens_valid_from",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Access tokens issued before are refused, in all sessions; NULL where that never happened.",
        ),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_users_email_is_lower_case")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    op.create_index("ix_users_created_at_id", "users", ["created_at", "id"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False, comment="Absolute: no refresh moves it."),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "end_reason",
            sa.String(length=30),
            nullable=True,
            comment="logout, password_changed, revoked, deactivated or refresh_reused.",
        ),
        sa.Column(
            "address", sa.String(length=45), nullable=True, comment="The client's address as the gateway saw it."
        ),
        sa.Column("user_agent", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index(
        "ix_sessions_ended_at", "sessions", ["ended_at"], unique=False, postgresql_where=sa.text("ended_at IS NOT NULL")
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"], unique=False)
    op.create_index("ix_sessions_user_id_created_at", "sessions", ["user_id", "created_at"], unique=False)
    op.create_table(
        "refresh_tokens",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False, comment="SHA-256."),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "successor_salt",
            sa.LargeBinary(),
            nullable=True,
            comment="With the token itself it gives the next one, so that a retry gets the same answer.",
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_refresh_tokens_session_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_refresh_tokens")),
    )
    op.create_index("ix_refresh_tokens_session_id", "refresh_tokens", ["session_id"], unique=False)
    migrations.create_outbox_trigger_v1()


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_refresh_tokens_session_id", table_name="refresh_tokens")
    op.drop_table("refresh_tokens")
    op.drop_index("ix_sessions_user_id_created_at", table_name="sessions")
    op.drop_index("ix_sessions_expires_at", table_name="sessions")
    op.drop_index("ix_sessions_ended_at", table_name="sessions", postgresql_where=sa.text("ended_at IS NOT NULL"))
    op.drop_table("sessions")
    op.drop_index("ix_users_created_at_id", table_name="users")
    op.drop_table("users")
    op.drop_table("signing_keys")
    op.drop_table("outbox")
    op.drop_index("ix_login_throttles_last_failed_at", table_name="login_throttles")
    op.drop_table("login_throttles")
    op.drop_table("event_sequences")
    op.execute("DROP FUNCTION notify_outbox()")
    op.execute("DROP TYPE user_role")
