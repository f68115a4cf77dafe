"""SQL of the names of users, each valid from one of the user's events on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class Name:
    """What a user is called since one of their events."""

    user_id: UUID
    sequence: int
    name: str
    since: datetime


# A snapshot has the sequence of the event that it repeats, and a later time.
_ADD = text(
    """
    INSERT INTO known_users (user_id, sequence, name, since)
    SELECT * FROM unnest(CAST(:users AS uuid[]), CAST(:sequences AS integer[]), CAST(:names AS text[]),
                         CAST(:since AS timestamptz[]))
    ON CONFLICT DO NOTHING
    """
)


async def add_names(session: AsyncSession, names: Sequence[Name]) -> None:
    """Store names; those that are known change nothing."""
    if names:
        await session.execute(
            _ADD,
            {
                "users": [name.user_id for name in names],
                "sequences": [name.sequence for name in names],
                "names": [name.name for name in names],
                "since": [name.since for name in names],
            },
        )
