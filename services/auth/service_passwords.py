"""Passwords that people choose: instead of an initial one, or of the one that they had.

Whatever takes long (hashing, estimating guesses) happens before an account is locked.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import repository, service_sessions, service_throttling
from services.auth.models import User
from services.auth.service_state import state, tell
from services.auth.service_tools import Tools
from services.auth.turns import Caller
from shared.db import SessionMaker
from shared.errors import ConflictError, FieldProblem, ForbiddenError, InvalidError, NotFoundError
from shared.events import auth as events


@dataclass(frozen=True, slots=True)
class NewPassword:
    """What is stored of a password that somebody chose, once it has been found good."""

    hashed: str


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the caller's own password, the session that it is made in, and from where."""

    user_id: UUID
    session_id: UUID
    address: str | None
    current: str
    new: str


async def at_present_cost(tools: Tools, caller: Caller, password: str, hashed: str | None) -> str | None:
    """The hash of a password that was just found right, where the cost has been changed since; None otherwise.

    A hash of another cost takes another time to check, which would tell an account from an address without one.
    """
    if hashed is None or not tools.passwords.has_other_cost(hashed):
        return None
    async with tools.passwords.turn(caller) as turn:
        return await turn.hash(password)


async def replacement(tools: Tools, caller: Caller, user: User, current: str, chosen: str | None) -> NewPassword | None:
    """What replaces an initial password at the first login; None for an account that needs nothing.

    Raises:
        ForbiddenError: ``password_change_required`` where it is missing.
        InvalidError: where it is refused, or nothing has to be replaced.
    """
    if user.initial_password_until is None:
        if chosen is not None:
            raise _refused("only replaces an initial password; change yours with POST /api/auth/password")
        return None
    if user.initial_password_until <= datetime.now(UTC):
        # The login is refused for another reason.
        return None
    if chosen is None:
        detail = "This password was made for the first login only. Send `new_password` with it."
        raise ForbiddenError(detail, "password_change_required")
    return await _accepted(tools, caller, user, current, chosen)


async def change(session: AsyncSession, readers: SessionMaker, tools: Tools, wanted: Change) -> InvalidError | None:
    """Change the caller's own password and end all other sessions; a wrong current one is answered, and remembered.

    Raises:
        TooManyRequestsError: for a caller who was wrong too often, or while too many log in.
        InvalidError: for a new password that is refused.
        ConflictError: where it was changed by somebody else at the same time.
    """
    async with readers() as reader:
        found = await repository.find(reader, wanted.user_id)
        if found is None:
            raise NotFoundError("There is no such account.")
        place = await service_throttling.place(reader, found.email, wanted.address, found.id)
        await service_throttling.admit(reader, place)
    caller = Caller(str(found.id), is_known=True)
    if not await service_throttling.check(readers, tools, place, caller, wanted.current, found.hashed_password):
        user = await repository.lock(session, found.id)
        if user is not None:
            data = events.LoginFailed(known_user=True, reason="current_password", address=wanted.address)
            await tell(session, events.LOGIN_FAILED, user.id, data, user.id)
        return _refused("is wrong", "wrong_password", "/body/current_password")

    chosen = await _accepted(tools, caller, found, wanted.current, wanted.new)
    user = await repository.lock(session, found.id)
    if user is None or user.hashed_password != found.hashed_password:
        raise ConflictError("The password was changed at the same moment. Try again with the present one.")
    await service_throttling.note_success(session, place)
    await store(session, tools, user, chosen, kept=wanted.session_id)
    return None


async def store(session: AsyncSession, tools: Tools, user: User, chosen: NewPassword, kept: UUID | None) -> User:
    """Replace the password of a locked user, end all sessions but one, and tell of it."""
    changed = await repository.change(session, user.id, hashed_password=chosen.hashed, initial_password_until=None)
    await service_sessions.end_all(session, tools, changed, "password_changed", user.id, kept=kept)
    told = await state(session, changed, tools.longest_acceptance, datetime.now(UTC))
    data = events.UserChanged(user=told, changed=["password"])
    await tell(session, events.USER_UPDATED, user.id, data, user.id)
    return changed


async def _accepted(tools: Tools, caller: Caller, user: User, current: str, chosen: str) -> NewPassword:
    if chosen == current:
        raise _refused("must differ from the present one")
    async with tools.passwords.turn(caller) as turn:
        complaint = await turn.complaint(chosen, user.email, user.name)
        if complaint is not None:
            raise _refused(complaint)
        return NewPassword(await turn.hash(chosen))


def _refused(why: str, code: str = "refused_password", pointer: str = "/body/new_password") -> InvalidError:
    return InvalidError("The password is not accepted.", code, errors=[FieldProblem(pointer=pointer, detail=why)])
