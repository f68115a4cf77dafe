"""Sessions: how one begins and goes on.

A refusal that has to be remembered (a failed login, a reused token) is returned and not raised: raising would roll back
what remembers it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import (
    repository,
    repository_sessions,
    service_keys,
    service_passwords,
    service_sessions,
    service_throttling,
    tokens,
)
from services.auth.models import Session, User
from services.auth.service_state import state, tell
from services.auth.service_throttling import Place
from services.auth.service_tools import Tools
from shared.db import SessionMaker
from shared.errors import UnauthenticatedError
from shared.events import auth as events

_UNKNOWN_USERS: Final = UUID("0d1f3e0c-5a4c-5f5b-8f39-6d0f0f7d5c21")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login that somebody tries, and from where; with the password that replaces an initial one."""

    email: str
    password: str
    address: str | None
    user_agent: str | None
    new_password: str | None = None


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
        ForbiddenError: ``password_change_required`` with an initial password and no new one.
        InvalidError: for a new password that is refused.
    """
    unknown = Place(attempt.email, attempt.address)
    async with tools.looks.turn(unknown.visitor), readers() as reader:
        # First, so that an attempt that has to wait costs no more than this.
        await service_throttling.admit(reader, unknown)
        found = await repository.find_by_email(reader, attempt.email)
        place = await service_throttling.place(reader, attempt.email, attempt.address, found.id if found else _NOBODY)
    hashed = found.hashed_password if found else None
    matches = await service_throttling.check(readers, tools, place, place.caller, attempt.password, hashed)
    chosen = rehashed = None
    if matches and found is not None and found.is_active:
        chosen = await service_passwords.replacement(tools, place.caller, found, attempt.password, attempt.new_password)
        rehashed = await service_passwords.at_present_cost(tools, place.caller, attempt.password, hashed)

    # Also for nobody: an address without an account takes the same steps as one with.
    user = await repository.lock(session, found.id if found else _NOBODY)
    now = datetime.now(UTC)
    reason = _refusal(user, hashed if matches else None, now)
    if user is None or reason is not None:
        if matches:
            # Counted like a wrong one, which has been already: that it is right is not to be told from the pauses.
            await service_throttling.note_failure(session, place, now)
        await _tell_failure(session, user, reason or "unknown", attempt.address)
        return UnauthenticatedError("The address or the password is wrong.", "invalid_credentials")

    await service_throttling.note_success(session, place)
    if chosen is not None:
        user = await service_passwords.store(session, tools, user, chosen, kept=None)
    elif rehashed is not None:
        await repository.keep_hash(session, user.id, rehashed)
    return await _begin(session, tools, user, attempt, now)


_NOBODY: Final = UUID(int=0)


def _refusal(user: User | None, matched: str | None, now: datetime) -> str | None:
    """Why a login is refused, in the words of the audit log. ``matched`` is the hash that the password matched."""
    if user is None:
        return "unknown"
    # The password may have been changed while the old one was being checked.
    if matched is None or user.hashed_password != matched:
        return "password"
    if not user.is_active:
        return "inactive"
    if user.initial_password_until is not None and user.initial_password_until <= now:
        return "expired"
    return None


async def _begin(session: AsyncSession, tools: Tools, user: User, attempt: Attempt, now: datetime) -> Granted:
    expires_at = now + timedelta(hours=tools.settings.session_hours)
    begun = await repository_sessions.create(session, user.id, now, expires_at, attempt.address, attempt.user_agent)
    refresh_token = tokens.new_refresh_token()
    await repository_sessions.add_token(session, begun.id, tokens.token_hash(refresh_token), now)
    told = await state(session, user, tools.longest_acceptance, now)
    data = events.LoginSucceeded(user=told, session_id=begun.id, address=attempt.address)
    await tell(session, events.LOGIN_SUCCEEDED, user.id, data, user.id)
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
    if not user.is_active or not _goes_on(current, tools, now):
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


def _goes_on(current: Session, tools: Tools, now: datetime) -> bool:
    idle_until = current.last_used_at + tools.settings.session_idle
    return current.ended_at is None and current.expires_at > now and idle_until > now


async def _end_reused(
    session: AsyncSession, tools: Tools, user: User, current: Session, address: str | None, now: datetime
) -> None:
    await service_sessions.end(session, tools, user, [current.id], "refresh_reused", user.id)
    told = await state(session, user, tools.longest_acceptance, now)
    data = events.RefreshReused(user=told, session_id=current.id, address=address)
    await tell(session, events.REFRESH_REUSED, user.id, data, None)


async def _grant(
    session: AsyncSession, tools: Tools, user: User, current: Session, refresh_token: str, now: datetime
) -> Granted:
    signer = await service_keys.current_signer(session, tools.keys, now)
    access_token, seconds = tokens.access_token(tools.settings, signer, user, current, now)
    return Granted(access_token, seconds, refresh_token)


async def _tell_failure(session: AsyncSession, user: User | None, reason: str, address: str | None) -> None:
    # One subject per place that tries, and not per address that it makes up.
    subject = user.id if user else uuid5(_UNKNOWN_USERS, address or "")
    data = events.LoginFailed(known_user=user is not None, reason=reason, address=address)
    await tell(session, events.LOGIN_FAILED, subject, data, None)
