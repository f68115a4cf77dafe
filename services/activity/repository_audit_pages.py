"""SQL that reads the audit log: pages for a person, and what is missing in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypeAlias
from uuid import UUID

from msgspec import Meta
from sqlalchemy import BigInteger, ColumnElement, cast, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity.models import AuditEntry, SequenceGap

Position: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
GapPlace: TypeAlias = tuple[datetime, UUID, Annotated[int, Meta(ge=1, le=2**31 - 1)], str]
"""Where a gap stands in the list: (noticed_at, subject, first, source)."""


@dataclass(frozen=True, slots=True)
class AuditFilters:
    """Which events of the log are wanted; ``since`` is included, ``until`` is not."""

    subject: UUID | None = None
    types: tuple[str, ...] = ()
    actor_id: UUID | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def page(session: AsyncSession, filters: AuditFilters, before: int | None, limit: int) -> Sequence[AuditEntry]:
    """Entries, the last recorded first, from before a position."""
    wanted = _conditions(filters)
    if before is not None:
        wanted.append(AuditEntry.position < before)
    statement = select(AuditEntry).where(*wanted).order_by(AuditEntry.position.desc()).limit(limit)
    return (await session.execute(statement)).scalars().all()


async def gaps(session: AsyncSession, after: GapPlace | None, limit: int) -> Sequence[SequenceGap]:
    """Runs of missing sequence numbers, those that were noticed first at the front."""
    place = tuple_(SequenceGap.noticed_at, SequenceGap.subject, SequenceGap.first, SequenceGap.source)
    statement = select(SequenceGap).order_by(*place).limit(limit)
    if after is not None:
        statement = statement.where(place > tuple_(*(literal(part) for part in after)))
    return (await session.execute(statement)).scalars().all()


async def count_missing(session: AsyncSession) -> tuple[int, int]:
    """How many subjects lack a sequence number, and how many numbers are missing in all."""
    numbers = func.coalesce(func.sum(cast(SequenceGap.last, BigInteger) - SequenceGap.first + 1), 0)
    subjects = func.count(tuple_(SequenceGap.source, SequenceGap.subject).distinct())
    row = (await session.execute(select(subjects, cast(numbers, BigInteger)))).one()
    return row[0], row[1]


def _conditions(filters: AuditFilters) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if filters.subject is not None:
        found.append(AuditEntry.subject == filters.subject)
    if filters.types:
        found.append(AuditEntry.type.in_(filters.types))
    if filters.actor_id is not None:
        found.append(AuditEntry.actor_id == filters.actor_id)
    if filters.source is not None:
        found.append(AuditEntry.source == filters.source)
    if filters.since is not None:
        found.append(AuditEntry.time >= filters.since)
    if filters.until is not None:
        found.append(AuditEntry.time < filters.until)
    return found
