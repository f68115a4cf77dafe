"""What the HTTP interface of the auth service takes and answers."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.auth.models import Session, User
from services.auth.service import Granted
from services.auth.text import GivenPassword, NewPassword
from shared.auth import PERMISSIONS, Permission
from shared.events.vocabulary import UserRole
from shared.text import StorableText


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Login(_Request):
    """Who logs in."""

    email: Annotated[StorableText, StringConstraints(min_length=1, max_length=255)] = Field(
        description="In any letter case.", examples=["clinical@demo.example"]
    )
    password: GivenPassword = Field(description="At most 72 bytes.", examples=["quality-compass"])
    new_password: NewPassword | None = Field(
        None, description="Replaces an initial password, and only such a one: 12 to 72 bytes, and not easy to guess."
    )


class PasswordChange(_Request):
    """The present password and the next one."""

    current_password: GivenPassword = Field(examples=["quality-compass"])
    new_password: NewPassword = Field(
        description="12 to 72 bytes, not easy to guess, not your name, your address or the name of this product.",
        examples=["tidal-lantern-harbour"],
    )


class Refresh(_Request):
    """The refresh token to turn in."""

    refresh_token: Annotated[StorableText, StringConstraints(min_length=1, max_length=200)] = Field(
        description="Of the last login or refresh. Good once; the answer has the next.",
        examples=["Yk0nq3nV0m2QzvVqYcKx1rJm8W0uZ7m2s4bT6yP9aLc"],
    )


class Tokens(BaseModel):
    """What a session goes on with."""

    access_token: str = Field(description="For `Authorization: Bearer <token>`, on every request.")
    token_type: str = Field("Bearer", examples=["Bearer"])
    expires_in: int = Field(description="Seconds that the access token is good for.", examples=[300])
    refresh_token: str = Field(description="For the next refresh. Keep it: it is not shown again.")

    @classmethod
    def of(cls, granted: Granted) -> Self:
        """The answer for what was granted."""
        return cls(
            access_token=granted.access_token, expires_in=granted.expires_in, refresh_token=granted.refresh_token
        )


class Me(BaseModel):
    """The caller's own account."""

    id: UUID
    email: str = Field(examples=["clinical@demo.example"])
    name: str = Field(examples=["Demo Clinical Leadership"])
    role: UserRole
    permissions: list[Permission] = Field(description="What the role may do.", examples=[["read", "assign"]])
    created_at: datetime

    etag: str = Field(description="For `If-Match`, quotes included; the header `ETag` too.", examples=['"3"'])

    @classmethod
    def of(cls, user: User) -> Self:
        """The answer for an account."""
        return cls(
            id=user.id,
            etag=user.etag,
            email=user.email,
            name=user.name,
            role=user.role,
            permissions=sorted(PERMISSIONS[user.role]),
            created_at=user.created_at,
        )


class SessionItem(BaseModel):
    """A session that goes on."""

    id: UUID
    created_at: datetime
    last_used_at: datetime = Field(description="When it was last refreshed.")
    expires_at: datetime = Field(description="When it ends at the latest.")
    address: str | None = Field(description="From where it began.", examples=["192.0.2.7"])
    user_agent: str | None = Field(description="With what it began.", examples=["Mozilla/5.0 (X11; Linux x86_64)"])
    is_current: bool = Field(description="Whether the request was made in it.")

    @classmethod
    def of(cls, session: Session, current: UUID) -> Self:
        """The answer for a session, seen from the present one."""
        return cls(
            id=session.id,
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            expires_at=session.expires_at,
            address=session.address,
            user_agent=session.user_agent,
            is_current=session.id == current,
        )


class Sessions(BaseModel):
    """The caller's sessions."""

    sessions: list[SessionItem]


class Jwk(BaseModel):
    """A public key (RFC 7517)."""

    kty: str = Field(examples=["EC"])
    crv: str = Field(examples=["P-256"])
    x: str
    y: str
    kid: str = Field(description="What the header of a token signed with it names.")
    use: str = Field(examples=["sig"])
    alg: str = Field(examples=["ES256"])


class Jwks(BaseModel):
    """The public keys that verify access tokens, the next one included before it signs."""

    keys: list[Jwk]
