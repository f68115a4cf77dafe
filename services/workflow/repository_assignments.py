"""SQL of the list of assignments."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import and_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from services.workflow.models import Assignment, KnownSignal
from services.workflow.repository_due import is_overdue
from shared.events.vocabulary import AssignmentStatus, RoleType

Key = tuple[datetime, UUID]
"""Where a row stands in the list: created_at and id, the newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which assignments; any of the values of each, empty for all."""

    assignee_ids: Sequence[UUID] = ()
    assigner_ids: Sequence[UUID] = ()
    statuses: Sequence[AssignmentStatus] = ()
    role_types: Sequence[RoleType] = ()
    overdue: bool | None = None
    snoozed: bool | None = None


class Row(NamedTuple):
    """An assignment at its signal, and the entity's newest signal."""

    assignment: Assignment
    signal: KnownSignal
    current_signal_id: UUID


async def page(session: AsyncSession, filters: Filters, after: Key | None, limit: int) -> list[Row]:
    """Rows after a key, at most so many."""
    current = aliased(KnownSignal)
    query = (
        select(Assignment, KnownSignal, current.signal_id)
        .join(KnownSignal, KnownSignal.signal_id == Assignment.signal_id)
        .join(current, and_(current.entity_id == Assignment.entity_id, current.is_current))
        .order_by(Assignment.created_at.desc(), Assignment.id.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(Assignment.created_at, Assignment.id) < tuple_(*after))
    for column, values in (
        (Assignment.assignee_id, filters.assignee_ids),
        (Assignment.assigner_id, filters.assigner_ids),
        (Assignment.status, filters.statuses),
        (Assignment.role_type, filters.role_types),
    ):
        if values:
            query = query.where(column.in_(values))
    if filters.overdue is not None:
        overdue = is_overdue(datetime.now(UTC))
        # What has no due date is not overdue: never unknown, as SQL would have it.
        query = query.where(overdue if filters.overdue else overdue.is_not(True))
    if filters.snoozed is not None:
        query = query.where(Assignment.snoozed_at.is_not(None) == filters.snoozed)
    return [Row(*row) for row in await session.execute(query)]
