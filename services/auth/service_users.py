"""Accounts: made, changed, deactivated and found again, by administrators."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import repository, service_sessions, tokens
from services.auth.initial_passwords import new_initial_password
from services.auth.models import User
from services.auth.repository import EmailTakenError, Filters
from services.auth.service_state import state, tell
from services.auth.service_tools import Tools
from services.auth.turns import Caller
from shared.errors import ConflictError, FieldProblem, NotFoundError
from shared.events import auth as events
from shared.events.vocabulary import UserRole
from shared.pagination import COUNT_CAP, cut, decode_cursor
from shared.preconditions import Precondition

_ALL_FIELDS: Final = ["name", "role", "is_active"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of an account; None leaves a field as it is."""

    email: str | None = None
    name: str | None = None
    role: UserRole | None = None
    is_active: bool | None = None
    reset_password: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """An account, and the initial password that was made for it, known at no later time."""

    user: User
    initial_password: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Accounts, the cursor of the next page, and how many match in all (up to the cap)."""

    users: list[User]
    cursor: str | None
    total_count: int
    total_is_capped: bool


async def create(
    session: AsyncSession, email: str, name: str, role: UserRole, hashed_password: str, actor_id: UUID | None = None
) -> User | None:
    """Make an account with a password of its own and tell of it; None where the address is taken."""
    made = await repository.create(session, email=email.lower(), name=name, role=role, hashed_password=hashed_password)
    if made is not None:
        await _tell_created(session, made, actor_id)
    return made


async def add(session: AsyncSession, tools: Tools, actor_id: UUID, email: str, name: str, role: UserRole) -> Changed:
    """Make an account with an initial password.

    Raises:
        ConflictError: ``email_taken``.
    """
    password, columns = await _initial_password(tools, actor_id)
    made = await repository.create(session, email=email, name=name, role=role, **columns)
    if made is None:
        raise _email_taken()
    await _tell_created(session, made, actor_id)
    return Changed(made, password)


async def show(session: AsyncSession, user_id: UUID) -> User:
    """One account.

    Raises:
        NotFoundError: for an id that nobody has.
    """
    user = await repository.find(session, user_id)
    if user is None:
        raise _no_such_account()
    return user


async def page(session: AsyncSession, filters: Filters, cursor: str | None, limit: int) -> Page:
    """Accounts that match, the newest first.

    Raises:
        InvalidError: ``bad_cursor``.
    """
    after = decode_cursor(cursor, repository.Key) if cursor else None
    found = await repository.page(session, filters, after, limit + 1)
    total = await repository.count(session, filters, COUNT_CAP + 1)
    users, following = cut(found, limit, lambda user: (user.created_at, user.id))
    return Page(list(users), following, min(total, COUNT_CAP), total > COUNT_CAP)


async def change(
    session: AsyncSession, tools: Tools, actor_id: UUID, user_id: UUID, wanted: Change, if_match: Precondition | None
) -> Changed:
    """Change an account. Whoever loses rights loses them everywhere within two seconds.

    A new role refuses the access tokens issued so far, and the next refresh gives one with the new role. Deactivating
    and making a new initial password end all sessions.

    Raises:
        NotFoundError: for an id that nobody has.
        PreconditionFailedError: for another version than the present one.
        ConflictError: ``email_taken``, ``last_administrator``, ``own_password``.
    """
    password, columns = await _initial_password(tools, actor_id) if wanted.reset_password else (None, {})
    await repository.lock_administrators(session)
    user = await repository.lock(session, user_id)
    if user is None:
        raise _no_such_account()
    if if_match is not None:
        if_match.require(user.etag)
    if wanted.reset_password and user_id == actor_id:
        raise ConflictError("Change your own password with POST /api/auth/password.", "own_password")

    columns |= {
        name: value
        for name in ("email", "name", "role", "is_active")
        if (value := getattr(wanted, name)) is not None and value != getattr(user, name)
    }
    if not columns:
        return Changed(user, None)
    await _keep_an_administrator(session, user, columns)
    return Changed(await _apply(session, tools, actor_id, user, columns), password)


async def _apply(session: AsyncSession, tools: Tools, actor_id: UUID, user: User, columns: dict[str, Any]) -> User:
    changed = sorted("password" if name == "hashed_password" else name for name in columns if name not in _UNTOLD)
    if "role" in columns:
        columns["tokens_valid_from"] = tokens.refused_before(user, datetime.now(UTC))
    try:
        user = await repository.change(session, user.id, **columns)
    except EmailTakenError:
        raise _email_taken() from None
    deactivated = columns.get("is_active") is False
    if deactivated or "hashed_password" in columns:
        reason = "deactivated" if deactivated else "password_changed"
        await service_sessions.end_all(session, tools, user, reason, actor_id)
    told = await state(session, user, tools.longest_acceptance, datetime.now(UTC))
    kind = events.USER_DEACTIVATED if deactivated else events.USER_UPDATED
    await tell(session, kind, user.id, events.UserChanged(user=told, changed=changed), actor_id)
    return user


_UNTOLD: Final = frozenset({"initial_password_until"})


async def _keep_an_administrator(session: AsyncSession, user: User, columns: dict[str, Any]) -> None:
    """Somebody must always be able to log in and do everything; one who has never logged in may never do so."""
    has_password = user.hashed_password is not None and user.initial_password_until is None
    counts = user.role is UserRole.ADMIN and user.is_active and has_password
    stays = columns.get("role", user.role) is UserRole.ADMIN and columns.get("is_active", user.is_active)
    if not counts or (stays and "hashed_password" not in columns):
        return
    if not await repository.other_administrators(session, user.id):
        detail = "This is the last active administrator who can log in. Make another one first."
        raise ConflictError(detail, "last_administrator")


async def _initial_password(tools: Tools, actor_id: UUID) -> tuple[str, dict[str, Any]]:
    """A new one and the columns that hold it."""
    password = new_initial_password()
    async with tools.passwords.turn(Caller(str(actor_id), is_known=True)) as turn:
        hashed = await turn.hash(password)
    until = datetime.now(UTC) + timedelta(hours=tools.settings.initial_password_hours)
    return password, {"hashed_password": hashed, "initial_password_until": until}


async def _tell_created(session: AsyncSession, user: User, actor_id: UUID | None) -> None:
    told = await state(session, user, timedelta(), datetime.now(UTC))
    data = events.UserChanged(user=told, changed=_ALL_FIELDS)
    await tell(session, events.USER_CREATED, user.id, data, actor_id)


def _no_such_account() -> NotFoundError:
    return NotFoundError("There is no such account.")


def _email_taken() -> ConflictError:
    detail = "Another account has this address."
    return ConflictError(detail, "email_taken", errors=[FieldProblem(pointer="/body/email", detail=detail)])
