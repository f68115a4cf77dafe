"""What the auth service publishes on ``compass.auth.v1``: users, sessions and the keys that verify tokens."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from msgspec import Meta, Struct

from shared.events import topics
from shared.events.envelope import EventType
from shared.events.vocabulary import UserRole

SOURCE: Final = "/services/auth"

Moment = Annotated[datetime, Meta(tz=True)]


class Revocation(Struct, frozen=True, kw_only=True):
    """Tokens of one session, or of all the user's sessions, that are refused though they have not expired."""

    session_id: Annotated[UUID | None, Meta(description="One session; null for every session of the user.")]
    issued_before: Annotated[Moment, Meta(description="Tokens issued before this moment are refused.")]
    until: Annotated[Moment, Meta(description="When the last such token has expired by itself.")]


class UserState(Struct, frozen=True, kw_only=True):
    """A user after the change, with the revocations still in force. The address is not passed on in full."""

    user_id: Annotated[UUID, Meta(description="The user.")]
    name: Annotated[str, Meta(description="The name at that time.")]
    role: Annotated[UserRole, Meta(description="Role for authorization.")]
    is_active: Annotated[bool, Meta(description="Whether the account may be used.")]
    revocations: Annotated[list[Revocation], Meta(description="Those still in force.")]


class UserChanged(Struct, frozen=True, kw_only=True):
    """A user's state and the names of the fields that differ from before."""

    user: Annotated[UserState, Meta(description="The user after the change.")]
    changed: Annotated[list[str], Meta(description="Names of the fields that differ from the state before.")] = []


class SessionsRevoked(Struct, frozen=True, kw_only=True):
    """Sessions of a user ended before their time."""

    user: Annotated[UserState, Meta(description="The user after the change.")]
    session_ids: Annotated[list[UUID], Meta(description="The sessions that ended.")]
    reason: Annotated[str, Meta(description="logout, password_changed, revoked, deactivated or refresh_reused.")]


class LoginSucceeded(Struct, frozen=True, kw_only=True):
    """A session began."""

    user: Annotated[UserState, Meta(description="The user after the change.")]
    session_id: Annotated[UUID, Meta(description="The session.")]
    address: Annotated[str | None, Meta(description="The client's address as the gateway saw it.")]


class LoginFailed(Struct, frozen=True, kw_only=True):
    """A login was refused. The subject is the user's id, or derived from the address for an unknown one."""

    known_user: Annotated[bool, Meta(description="Whether there is such an account.")]
    reason: Annotated[
        str,
        Meta(
            description="unknown, password, inactive, expired (an initial password that was not used in time), or "
            "current_password (wrong when the user was to change it)."
        ),
    ]
    address: Annotated[str | None, Meta(description="The client's address as the gateway saw it.")]


class RefreshReused(Struct, frozen=True, kw_only=True):
    """A refresh token came a second time: its whole session was revoked."""

    user: Annotated[UserState, Meta(description="The user after the change.")]
    session_id: Annotated[UUID, Meta(description="The session.")]
    address: Annotated[str | None, Meta(description="The client's address as the gateway saw it.")]


class VerificationKey(Struct, frozen=True, kw_only=True):
    """A public key that verifies access tokens."""

    kid: Annotated[str, Meta(description="Key id.")]
    public_jwk: Annotated[dict[str, str], Meta(description="RFC 7517, public members only.")]
    not_after: Annotated[Moment | None, Meta(description="Tokens signed with it have all expired by then; null: open.")]


class KeyRotated(Struct, frozen=True, kw_only=True):
    """Every key that verifies tokens from now on; keys that are not listed are gone."""

    keys: Annotated[list[VerificationKey], Meta(description="All keys in force.")]


def _event(name: str, data: type[Struct], when: str, **more: Any) -> EventType:
    subject = "key set id" if name.startswith("key") else "user id"
    return EventType(
        name=f"compass.{name}.v1",
        topic=topics.COMPASS_AUTH,
        source=SOURCE,
        subject=subject,
        data=data,
        when=when,
        **more,
    )


USER_CREATED: Final = _event("user.created", UserChanged, "An account was made.")
USER_UPDATED: Final = _event("user.updated", UserChanged, "Name, role or address of an account changed.")
USER_DEACTIVATED: Final = _event("user.deactivated", UserChanged, "An account was switched off.")
USER_SNAPSHOT: Final = _event("user.snapshot", UserChanged, "The present state, on demand.", snapshot=True)
SESSIONS_REVOKED: Final = _event("sessions.revoked", SessionsRevoked, "Sessions ended before their time.")
LOGIN_SUCCEEDED: Final = _event("login.succeeded", LoginSucceeded, "A session began.")
LOGIN_FAILED: Final = _event("login.failed", LoginFailed, "A login was refused.")
REFRESH_REUSED: Final = _event("refresh.reused", RefreshReused, "A used refresh token came again after its grace.")
KEY_ROTATED: Final = _event("key.rotated", KeyRotated, "The set of keys that verify tokens changed.")
KEY_SNAPSHOT: Final = _event("key.snapshot", KeyRotated, "The present set of keys, on demand.", snapshot=True)

EVENTS: Final = (
    USER_CREATED,
    USER_UPDATED,
    USER_DEACTIVATED,
    USER_SNAPSHOT,
    SESSIONS_REVOKED,
    LOGIN_SUCCEEDED,
    LOGIN_FAILED,
    REFRESH_REUSED,
    KEY_ROTATED,
    KEY_SNAPSHOT,
)
