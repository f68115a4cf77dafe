"""SQL of accounts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import Select, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.models import User
from shared.events.vocabulary import UserRole
from shared.tables import event_sequences

Key = tuple[datetime, UUID]
"""Where an account stands in the list: created_at and id, the newest first."""

Selected = TypeVar("Selected", User, UUID)

DEMO_DOMAIN: Final = "@demo.example"

_UNIQUE_EMAIL: Final = "uq_users_email"
_LOCK_ADMINISTRATORS: Final = text(
    "SELECT pg_advisory_xact_lock(hashtext('compass.administrators'), hashtext(current_schema()))"
)


class EmailTakenError(Exception):
    """Another account has this address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which accounts; nothing given is all of them. ``text`` is looked for in name and address."""

    roles: Sequence[UserRole] = ()
    is_active: bool | None = None
    text: str | None = None


async def find_by_email(session: AsyncSession, email: str) -> User | None:
    """The account with this address in any letter case, whether active or not."""
    return await session.scalar(select(User).where(User.email == email.lower()))


async def find(session: AsyncSession, user_id: UUID) -> User | None:
    """An account by its id."""
    return await session.get(User, user_id)


async def existing(session: AsyncSession, user_ids: Collection[UUID]) -> set[UUID]:
    """Which of these ids are those of accounts."""
    return set(await session.scalars(select(User.id).where(User.id.in_(user_ids))))


async def lock(session: AsyncSession, user_id: UUID) -> User | None:
    """An account as it is now, locked until the transaction ends.

    Everything that changes a user's sessions or publishes an event about the user locks here first: so the events
    tell the states in the order in which they were, and two such transactions cannot block each other.
    """
    return await session.scalar(
        select(User).where(User.id == user_id).with_for_update(key_share=True).execution_options(populate_existing=True)
    )


async def lock_next(session: AsyncSession, after: UUID | None, rows: int) -> list[tuple[User, int]]:
    """The next accounts by id, locked, each with the number of the last event about it."""
    query = (
        select(User, event_sequences.c.last)
        .join(event_sequences, event_sequences.c.subject == User.id)
        .order_by(User.id)
        .limit(rows)
        .with_for_update(of=User, key_share=True)
    )
    if after is not None:
        query = query.where(User.id > after)
    return [(row[0], row[1]) for row in await session.execute(query)]


async def count_all(session: AsyncSession) -> int:
    """How many accounts there are."""
    return (await session.scalars(select(func.count()).select_from(User))).one()


async def last_sequence(session: AsyncSession, subject: UUID) -> int | None:
    """The number of the last event about a subject, None before the first."""
    return await session.scalar(select(event_sequences.c.last).where(event_sequences.c.subject == subject))


async def create(session: AsyncSession, **columns: Any) -> User | None:
    """Make an account, or nothing where the address is taken."""
    return await session.scalar(
        insert(User).values(**columns).on_conflict_do_nothing(index_elements=[User.email]).returning(User)
    )


async def change(session: AsyncSession, user_id: UUID, **columns: Any) -> User:
    """Change a locked account; answers it as it is then.

    Raises:
        EmailTakenError: where another account has the new address.
    """
    statement = (
        update(User)
        .where(User.id == user_id)
        .values(**columns, version=User.version + 1, updated_at=func.clock_timestamp())
        .returning(User)
        .execution_options(populate_existing=True)
    )
    try:
        async with session.begin_nested():
            return (await session.scalars(statement)).one()
    except IntegrityError as error:
        if _UNIQUE_EMAIL not in str(error.orig):
            raise
        raise EmailTakenError from None


async def keep_hash(session: AsyncSession, user_id: UUID, hashed_password: str) -> None:
    """Store another hash of the same password: nothing that anybody could see changes."""
    await session.execute(update(User).where(User.id == user_id).values(hashed_password=hashed_password))


async def lock_administrators(session: AsyncSession) -> None:
    """Let one transaction at a time take an administrator's rights away. Called before any account is locked."""
    await session.execute(_LOCK_ADMINISTRATORS)


async def other_administrators(session: AsyncSession, user_id: UUID) -> int:
    """How many others can log in with a password of their own and do everything."""
    others = select(func.count()).where(
        User.role == UserRole.ADMIN,
        User.is_active,
        User.hashed_password.is_not(None),
        User.initial_password_until.is_(None),
        User.id != user_id,
    )
    return (await session.scalars(others)).one()


async def page(session: AsyncSession, filters: Filters, after: Key | None, limit: int) -> Sequence[User]:
    """Accounts after a key, the newest first, at most so many."""
    query = _filtered(select(User), filters).order_by(User.created_at.desc(), User.id.desc()).limit(limit)
    if after is not None:
        query = query.where(tuple_(User.created_at, User.id) < tuple_(*after))
    return (await session.scalars(query)).all()


async def count(session: AsyncSession, filters: Filters, cap: int) -> int:
    """How many there are, counted no further than the cap."""
    found = _filtered(select(User.id), filters).limit(cap).subquery()
    return (await session.scalars(select(func.count()).select_from(found))).one()


def _filtered(query: Select[Selected], filters: Filters) -> Select[Selected]:
    if filters.roles:
        query = query.where(User.role.in_(filters.roles))
    if filters.is_active is not None:
        query = query.where(User.is_active.is_(filters.is_active))
    if filters.text:
        query = query.where(
            or_(User.name.icontains(filters.text, autoescape=True), User.email.icontains(filters.text, autoescape=True))
        )
    return query


async def active_demo_users(session: AsyncSession) -> Sequence[str]:
    """Addresses of active accounts that only a local stack may have."""
    found = await session.scalars(
        select(User.email).where(User.is_active, User.email.endswith(DEMO_DOMAIN)).order_by(User.email)
    )
    return found.all()
