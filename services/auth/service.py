"""Sessions: how one begins, goes on and ends.

A refusal that has to be remembered (a failed login, a reused token) is returned and not raised: raising would roll back
what remembers it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import repository, repository_sessions, service_keys, service_throttling, service_users, tokens
from services.auth.models import Session, User
from services.auth.service_tools import Tools
from shared import outbox
from shared.db import SessionMaker
from shared.errors import NotFoundError, UnauthenticatedError
from shared.events import auth as events

_UNKNOWN_USERS: Final = UUID("0d1f3e0c-5a4c-5f5b-8f39-6d0f0f7d5c21")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login that somebody tries, and from where."""

    email: str
    password: str
    address: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class Granted:
    """What a session goes on with."""

    access_token: str
    expires_in: int
    refresh_token: str


async def login(
    session: AsyncSession, readers: SessionMaker, tools: Tools, attempt: Attempt
) -> Granted | UnauthenticatedError:
    """Begin a session. Unknown address, wrong password and inactive account are told apart in the audit log only.

    Raises:
        TooManyRequestsError: for a caller who failed too often, or while too many log in.
    """
    async with readers() as reader:
        await service_throttling.admit(reader, attempt.email, attempt.address)
        found = await repository.find_by_email(reader, attempt.email)
    matches = await tools.passwords.verify(attempt.password, found.hashed_password if found else None)

    user = await repository.lock(session, found.id) if found else None
    now = datetime.now(UTC)
    # The password may have been changed while the old one was being checked.
    matches = matches and user is not None and found is not None and user.hashed_password == found.hashed_password
    if user is None or not matches or not user.is_active:
        await service_throttling.note_failure(session, attempt.email, attempt.address, now)
        await _tell_failure(session, user, "password" if user and not matches else "inactive", attempt.address)
        return UnauthenticatedError("The address or the password is wrong.", "invalid_credentials")

    await service_throttling.note_success(session, attempt.email, attempt.address)
    expires_at = now + timedelta(hours=tools.settings.session_hours)
    begun = await repository_sessions.create(session, user.id, now, expires_at, attempt.address, attempt.user_agent)
    refresh_token = tokens.new_refresh_token()
    await repository_sessions.add_token(session, begun.id, tokens.token_hash(refresh_token), now)
    state = await service_users.state(session, user, tools.longest_acceptance, now)
    data = events.LoginSucceeded(user=state, session_id=begun.id, address=attempt.address)
    await outbox.publish(
        session,
        outbox.Event(type=events.LOGIN_SUCCEEDED, subject=user.id, key=user.id, actor_id=user.id, data=data),
    )
    return await _grant(session, tools, user, begun, refresh_token, now)


async def refresh(
    session: AsyncSession, tools: Tools, refresh_token: str, address: str | None
) -> Granted | UnauthenticatedError:
    """Turn in a refresh token for the next one and a new access token.

    A token that was turned in before gets the same successor again within the grace, as long as that has not been
    used: then the first answer was lost, or two tabs asked at once. Otherwise somebody else holds a copy, and the
    session ends.
    """
    refusal = UnauthenticatedError("The refresh token is not valid, or its session has ended.", "invalid_refresh_token")
    digest = tokens.token_hash(refresh_token)
    owner = await repository_sessions.find_owner(session, digest)
    user = await repository.lock(session, owner) if owner else None
    found = await repository_sessions.find_token(session, digest) if user else None
    now = datetime.now(UTC)
    if user is None or found is None:
        return refusal
    token, current = found
    if not user.is_active or current.ended_at is not None or current.expires_at <= now:
        return refusal

    if token.used_at is None or token.successor_salt is None:
        salt = tokens.new_salt()
        following = tokens.successor(refresh_token, salt)
        await repository_sessions.use_token(session, digest, salt, now)
        await repository_sessions.add_token(session, current.id, tokens.token_hash(following), now)
    else:
        following = tokens.successor(refresh_token, token.successor_salt)
        in_grace = now - token.used_at <= timedelta(seconds=tools.settings.refresh_grace_seconds)
        if not in_grace or await repository_sessions.is_used(session, tokens.token_hash(following)):
            await _end_reused(session, tools, user, current, address, now)
            return refusal
    await repository_sessions.touch(session, current.id, now)
    return await _grant(session, tools, user, current, following, now)


async def logout(session: AsyncSession, tools: Tools, user_id: UUID, session_id: UUID) -> None:
    """End the session; nothing where it has ended already."""
    user = await repository.lock(session, user_id)
    if user is not None:
        await end_sessions(session, tools, user, [session_id], "logout", datetime.now(UTC))


async def end_session(session: AsyncSession, tools: Tools, user_id: UUID, session_id: UUID) -> None:
    """End one session of the user.

    Raises:
        NotFoundError: where the user has no such session that goes on.
    """
    user = await repository.lock(session, user_id)
    going_on = await repository_sessions.going_on(session, user_id)
    if user is None or session_id not in {item.id for item in going_on}:
        raise NotFoundError("There is no such session, or it has ended.")
    await end_sessions(session, tools, user, [session_id], "revoked", datetime.now(UTC))


async def end_other_sessions(session: AsyncSession, tools: Tools, user_id: UUID, kept: UUID) -> None:
    """End all sessions of the user but one."""
    user = await repository.lock(session, user_id)
    others = [item.id for item in await repository_sessions.going_on(session, user_id) if item.id != kept]
    if user is not None:
        await end_sessions(session, tools, user, others, "revoked", datetime.now(UTC))


async def end_sessions(
    session: AsyncSession, tools: Tools, user: User, session_ids: list[UUID], reason: str, now: datetime
) -> None:
    """End sessions of a locked user and have their access tokens refused everywhere."""
    ended = await repository_sessions.end(session, user.id, session_ids, reason, now)
    if not ended:
        return
    state = await service_users.state(session, user, tools.longest_acceptance, now)
    data = events.SessionsRevoked(user=state, session_ids=sorted(ended), reason=reason)
    await outbox.publish(
        session,
        outbox.Event(type=events.SESSIONS_REVOKED, subject=user.id, key=user.id, actor_id=user.id, data=data),
    )


async def _end_reused(
    session: AsyncSession, tools: Tools, user: User, current: Session, address: str | None, now: datetime
) -> None:
    await end_sessions(session, tools, user, [current.id], "refresh_reused", now)
    state = await service_users.state(session, user, tools.longest_acceptance, now)
    data = events.RefreshReused(user=state, session_id=current.id, address=address)
    await outbox.publish(session, outbox.Event(type=events.REFRESH_REUSED, subject=user.id, key=user.id, data=data))


async def _grant(
    session: AsyncSession, tools: Tools, user: User, current: Session, refresh_token: str, now: datetime
) -> Granted:
    signer = await service_keys.current_signer(session, tools.keys)
    access_token, seconds = tokens.access_token(tools.settings, signer, user, current, now)
    return Granted(access_token, seconds, refresh_token)


async def _tell_failure(session: AsyncSession, user: User | None, reason: str, address: str | None) -> None:
    # One subject per place that tries, and not per address that it makes up.
    subject = user.id if user else uuid5(_UNKNOWN_USERS, address or "")
    data = events.LoginFailed(known_user=user is not None, reason=reason if user else "unknown", address=address)
    await outbox.publish(session, outbox.Event(type=events.LOGIN_FAILED, subject=subject, key=subject, data=data))
