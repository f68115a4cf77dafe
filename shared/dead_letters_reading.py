"""Looking at a service's dead letters: pages by filter, and one of them whole."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from shared import outbox
from shared.tables import dead_letters

_TABLE: Final = dead_letters.c
_LISTED: Final = (
    *(_TABLE.id, _TABLE.consumer_group, _TABLE.topic, _TABLE.partition, _TABLE.offset, _TABLE.code, _TABLE.detail),
    *(_TABLE.appended_at, _TABLE.rejected_at, _TABLE.replayed_at),
    func.coalesce(func.octet_length(_TABLE.value), 0).label("size"),
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter as lists show it. ``size`` is that of the value, in bytes."""

    id: UUID
    consumer_group: str
    topic: str
    partition: int
    offset: int
    code: str
    detail: str
    appended_at: datetime
    rejected_at: datetime
    replayed_at: datetime | None
    size: int


@dataclass(frozen=True, slots=True)
class WholeDeadLetter(DeadLetter):
    """A dead letter with the message itself."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class DeadLetterFilters:
    """Which dead letters; what is left out or empty matches every one. Of several values any matches."""

    topics: Sequence[str] = ()
    codes: Sequence[str] = ()
    consumer_groups: Sequence[str] = ()
    rejected_from: datetime | None = None
    rejected_to: datetime | None = None
    """The moment itself no longer belongs to it."""
    replayed: bool | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The same as SQL."""
        found: list[ColumnElement[bool]] = [
            column.in_(values)
            for column, values in (
                (_TABLE.topic, self.topics),
                (_TABLE.code, self.codes),
                (_TABLE.consumer_group, self.consumer_groups),
            )
            if values
        ]
        if self.rejected_from is not None:
            found.append(_TABLE.rejected_at >= self.rejected_from)
        if self.rejected_to is not None:
            found.append(_TABLE.rejected_at < self.rejected_to)
        if self.replayed is not None:
            found.append(_TABLE.replayed_at.is_not(None) if self.replayed else _TABLE.replayed_at.is_(None))
        return found


async def page(
    session: AsyncSession, filters: DeadLetterFilters, after: tuple[datetime, UUID] | None, rows: int
) -> list[DeadLetter]:
    """Up to so many dead letters, latest first, after the one with this time and id; without their bytes."""
    query: Select[Any] = select(*_LISTED).where(*filters.conditions())
    if after is not None:
        query = query.where(tuple_(_TABLE.rejected_at, _TABLE.id) < after)
    result = await session.execute(query.order_by(_TABLE.rejected_at.desc(), _TABLE.id.desc()).limit(rows))
    return [DeadLetter(*row) for row in result]


async def one(session: AsyncSession, letter_id: UUID) -> WholeDeadLetter | None:
    """A dead letter with key, value and headers, if there is one with this id."""
    query: Select[Any] = select(*_LISTED, _TABLE.key, _TABLE.value, _TABLE.headers).where(_TABLE.id == letter_id)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        return None
    return WholeDeadLetter(**row._asdict() | {"headers": outbox.decode_headers(row.headers)})


def readable(content: bytes | None) -> tuple[str, str] | None:
    """How bytes are shown to a person, and what they are: as text where they are UTF-8, else as base64."""
    if content is None:
        return None
    try:
        return "utf-8", content.decode()
    except UnicodeDecodeError:
        return "base64", base64.b64encode(content).decode()
