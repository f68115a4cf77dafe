"""SQL that reads the audit log: pages for a person, and what is missing in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeAlias
from uuid import UUID

from msgspec import Meta
from sqlalchemy import BigInteger, cast, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity.models import SequenceGap
from shared.db import AnySession, raw_connection

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


async def page(session: AnySession, filters: AuditFilters, before: int | None, limit: int) -> Sequence[Any]:
    """Entries by the names of their columns, the last recorded first, from before a position."""
    wanted, values = conditions(filters)
    if before is not None:
        values.append(before)
        wanted.append(f"position < ${len(values)}")
    connection = await raw_connection(session)
    found: Sequence[Any] = await connection.fetch(
        "SELECT position, recorded_at, event_id, source, subject, sequence, type, time, actor_id, feed_type, hash, "  # noqa: S608
        f"envelope::text AS envelope FROM audit_log WHERE {' AND '.join(wanted) or 'true'} "
        f"ORDER BY position DESC LIMIT {limit:d}",
        *values,
    )
    return found


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


def conditions(filters: AuditFilters) -> tuple[list[str], list[Any]]:
    """The filters as conditions on ``audit_log``, and the values of their parameters in order."""
    given = [
        ("subject = ${}", filters.subject),
        # A plain comparison lets the index give the order, too.
        ("type = ${}", filters.types[0] if len(filters.types) == 1 else None),
        ("type = ANY(${}::text[])", list(filters.types) if len(filters.types) > 1 else None),
        ("actor_id = ${}", filters.actor_id),
        ("source = ${}", filters.source),
        ("time >= ${}", filters.since),
        ("time < ${}", filters.until),
    ]
    chosen = [(condition, value) for condition, value in given if value is not None]
    return [condition.format(place) for place, (condition, _) in enumerate(chosen, 1)], [value for _, value in chosen]
