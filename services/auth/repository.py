"""SQL of accounts."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.models import User
from shared.events.vocabulary import UserRole

DEMO_DOMAIN: Final = "@demo.example"


async def find_by_email(session: AsyncSession, email: str) -> User | None:
    """The account with this address in any letter case, whether active or not."""
    return await session.scalar(select(User).where(User.email == email.lower()))


async def find(session: AsyncSession, user_id: UUID) -> User | None:
    """An account by its id."""
    return await session.get(User, user_id)


async def lock(session: AsyncSession, user_id: UUID) -> User | None:
    """An account as it is now, locked until the transaction ends.

    Everything that changes a user's sessions or publishes an event about the user locks here first: so the events
    tell the states in the order in which they were, and two such transactions cannot block each other.
    """
    return await session.scalar(
        select(User).where(User.id == user_id).with_for_update(key_share=True).execution_options(populate_existing=True)
    )


async def create(session: AsyncSession, email: str, name: str, role: UserRole, hashed_password: str) -> User | None:
    """Make an account, or nothing where the address is taken."""
    return await session.scalar(
        upsert(User)
        .values(email=email.lower(), name=name, role=role, hashed_password=hashed_password)
        .on_conflict_do_nothing(index_elements=[User.email])
        .returning(User)
    )


async def active_demo_users(session: AsyncSession) -> Sequence[str]:
    """Addresses of active accounts that only a local stack may have."""
    found = await session.scalars(
        select(User.email).where(User.is_active, User.email.endswith(DEMO_DOMAIN)).order_by(User.email)
    )
    return found.all()
