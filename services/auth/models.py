"""Tables of the auth service."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.db import declarative_base
from shared.events.vocabulary import UserRole
from shared.tables import IDEMPOTENCY_TABLES, PRODUCER_TABLES

_Moment = DateTime(timezone=True)


class Base(DeclarativeBase):
    """The tables of this service, with those that every producer has and the answers to repeated writes."""

    metadata = declarative_base(PRODUCER_TABLES, IDEMPOTENCY_TABLES).metadata


class User(Base):
    """An account. Addresses are kept in lower case, so that the unique constraint does not see letter case."""

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("email"),
        CheckConstraint("email = lower(email)", name="email_is_lower_case"),
        Index("ix_users_created_at_id", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, server_default=text("gen_random_uuid()"))
    email: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(255))
    hashed_password: Mapped[str | None] = mapped_column(
        String(255), comment="NULL for an account that has no password yet and cannot log in."
    )
    role: Mapped[UserRole] = mapped_column(
        Enum(UserRole, name="user_role", values_callable=lambda members: [member.value for member in members])
    )
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(_Moment, nullable=True, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(_Moment, nullable=True, server_default=func.now())
    tokens_valid_from: Mapped[datetime | None] = mapped_column(
        _Moment, comment="Access tokens issued before are refused, in all sessions; NULL where that never happened."
    )
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"), comment="Counts the changes: the ETag.")
    initial_password_until: Mapped[datetime | None] = mapped_column(
        _Moment,
        comment="The password was made by the system, has to be replaced at the first login, and is good for that "
        "until then; NULL for a password that its owner chose.",
    )

    @property
    def etag(self) -> str:
        """What `If-Match` is compared with, quotes included."""
        return f'"{self.version}"'


class Session(Base):
    """One login, until it ends; its refresh tokens are one family."""

    __tablename__ = "sessions"
    __table_args__ = (
        Index("ix_sessions_user_id_created_at", "user_id", "created_at"),
        Index("ix_sessions_ended_at", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        Index("ix_sessions_expires_at", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, server_default=text("gen_random_uuid()"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(_Moment, server_default=func.now())
    last_used_at: Mapped[datetime] = mapped_column(_Moment, server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(_Moment, comment="Absolute: no refresh moves it.")
    ended_at: Mapped[datetime | None] = mapped_column(_Moment)
    end_reason: Mapped[str | None] = mapped_column(
        String(30), comment="logout, password_changed, revoked, deactivated or refresh_reused."
    )
    address: Mapped[str | None] = mapped_column(String(45), comment="The client's address as the gateway saw it.")
    user_agent: Mapped[str | None] = mapped_column(String(255))


class RefreshToken(Base):
    """A refresh token of a session: its hash, never itself."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index("ix_refresh_tokens_session_id", "session_id"),)

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True, comment="SHA-256.")
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    issued_at: Mapped[datetime] = mapped_column(_Moment, server_default=func.now())
    used_at: Mapped[datetime | None] = mapped_column(_Moment)
    successor_salt: Mapped[bytes | None] = mapped_column(
        LargeBinary, comment="With the token itself it gives the next one, so that a retry gets the same answer."
    )


class SigningKey(Base):
    """A key pair that signs access tokens. The private part is encrypted twice over (envelope encryption)."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(String(100), primary_key=True)
    public_jwk: Mapped[dict[str, Any]] = mapped_column(JSONB)
    encrypted_private_key: Mapped[bytes] = mapped_column(
        LargeBinary, comment="Nonce and AES-256-GCM ciphertext of the PKCS #8 form, under the data key."
    )
    encrypted_data_key: Mapped[bytes] = mapped_column(
        LargeBinary, comment="Nonce and AES-256-GCM ciphertext of the data key, under the key from the environment."
    )
    encrypted_with: Mapped[str] = mapped_column(
        String(16), comment="Which key from the environment that is: the start of its SHA-256."
    )
    created_at: Mapped[datetime] = mapped_column(_Moment, server_default=func.now())
    signs_from: Mapped[datetime] = mapped_column(
        _Moment, comment="Published before, so that every verifier knows it by then."
    )
    verifies_until: Mapped[datetime | None] = mapped_column(_Moment, comment="NULL while it signs or will.")


class LoginThrottle(Base):
    """Failed logins of one kind of caller, and until when the next attempt has to wait."""

    __tablename__ = "login_throttles"
    __table_args__ = (Index("ix_login_throttles_last_failed_at", "last_failed_at"),)

    scope: Mapped[str] = mapped_column(
        String(20), primary_key=True, comment="address, account, or account_address: one account from one address."
    )
    key_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True, comment="SHA-256 of what the scope names.")
    failures: Mapped[int] = mapped_column(Integer)
    last_failed_at: Mapped[datetime] = mapped_column(_Moment)
    blocked_until: Mapped[datetime | None] = mapped_column(_Moment)
