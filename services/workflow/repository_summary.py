"""SQL of the workload view."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, case, func, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from services.workflow.models import Assignment
from services.workflow.repository_due import is_overdue
from shared.events.vocabulary import AssignmentStatus, RoleType


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which assignments, and from when to when (not itself) they were assigned and resolved; empty for all."""

    since: datetime
    until: datetime
    assignee_ids: Sequence[UUID] = ()
    role_types: Sequence[RoleType] = ()


class Share(NamedTuple):
    """What a figure is about: a person, a role, or with neither, everything."""

    assignee_id: UUID | None
    role_type: RoleType | None


class Standing(NamedTuple):
    """What is open at this moment, of one person in one role at one status."""

    assignee_id: UUID | None
    role_type: RoleType | None
    status: AssignmentStatus
    open: int
    overdue: int
    snoozed: int


class Pace(NamedTuple):
    """How many took a step within the window, and the median time to it; None where none of them tells."""

    share: Share
    number: int
    median: timedelta | None


async def standings(session: AsyncSession, window: Window, now: datetime) -> list[Standing]:
    """What is not closed."""
    by = (Assignment.assignee_id, Assignment.role_type, Assignment.status)
    query = select(
        *by,
        func.count().label("open"),
        func.count(case((is_overdue(now), 1))).label("overdue"),
        func.count(Assignment.snoozed_at).label("snoozed"),
    ).where(Assignment.status != AssignmentStatus.CLOSED, *_wanted(window))
    return [
        Standing(row.assignee_id, row.role_type, row.status, row.open, row.overdue, row.snoozed)
        for row in await session.execute(query.group_by(*by))
    ]


async def times_to_assign(session: AsyncSession, window: Window) -> list[Pace]:
    """From when a signal was heard of to its assignment, for what was assigned within the window."""
    return await _paces(session, window, Assignment.assigned_at, Assignment.opened_at)


async def times_to_resolve(session: AsyncSession, window: Window) -> list[Pace]:
    """From the assignment to its resolution, for what was resolved within the window."""
    return await _paces(session, window, Assignment.resolved_at, Assignment.assigned_at)


async def _paces(
    session: AsyncSession,
    window: Window,
    end: InstrumentedAttribute[datetime | None],
    begin: InstrumentedAttribute[datetime | None],
) -> list[Pace]:
    # Not EXTRACT, which answers a numeric: sorting those takes several times as long.
    seconds: ColumnElement[float] = func.date_part("epoch", end - begin)
    query = select(
        Assignment.assignee_id,
        Assignment.role_type,
        func.grouping(Assignment.assignee_id, Assignment.role_type).label("grouping"),
        func.count().label("number"),
        func.percentile_cont(0.5).within_group(seconds).label("median"),
    ).where(end >= window.since, end < window.until, *_wanted(window))
    query = query.group_by(
        func.grouping_sets(tuple_(Assignment.assignee_id), tuple_(Assignment.role_type), literal_column("()"))
    )
    return [
        Pace(share, row.number, None if row.median is None else timedelta(seconds=float(row.median)))
        for row in await session.execute(query)
        if (share := _share(row, row.grouping)) is not None
    ]


def _wanted(window: Window) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if window.assignee_ids:
        wanted.append(Assignment.assignee_id.in_(window.assignee_ids))
    if window.role_types:
        wanted.append(Assignment.role_type.in_(window.role_types))
    return wanted


def _share(row: Any, grouping: int) -> Share | None:
    """Whose figures a row holds, by GROUPING's bits (set: not grouped by); None for nobody's and no role's."""
    if grouping == 0b11:
        return Share(None, None)
    share = Share(row.assignee_id if grouping == 0b01 else None, row.role_type if grouping == 0b10 else None)
    return None if share == Share(None, None) else share
