"""SQL of the list of assignments."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.workflow.repository_filters import OVERDUE, is_any, is_anybody
from services.workflow.repository_views import COLUMNS, Look, look
from shared.db import AnySession, Values, raw_connection
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


async def page(session: AnySession, filters: Filters, after: Key | None, limit: int) -> list[Look]:
    """Rows after a key, at most so many."""
    values = Values()
    where = list(_wanted(filters, values))
    if after is not None:
        where.append(f"(a.created_at, a.id) < ({values.put(after[0])}, {values.put(after[1])})")
    connection = await raw_connection(session)
    records = await connection.fetch(
        f"SELECT {COLUMNS} FROM assignments AS a JOIN known_signals AS s ON s.signal_id = a.signal_id "  # noqa: S608
        f"WHERE {' AND '.join(where) or 'true'} ORDER BY a.created_at DESC, a.id DESC LIMIT {limit:d}",
        *values,
    )
    return [look(record) for record in records]


def _wanted(filters: Filters, values: Values) -> Iterator[str]:
    for column, people in (("assignee_id", filters.assignee_ids), ("assigner_id", filters.assigner_ids)):
        if people:
            yield is_anybody(column, people, values)
    if filters.statuses:
        yield is_any("status", filters.statuses)
    if filters.role_types:
        yield is_any("role_type", filters.role_types)
    if filters.overdue is not None:
        yield OVERDUE if filters.overdue else f"{OVERDUE} IS NOT TRUE"
    if filters.snoozed is not None:
        yield f"a.snoozed_at IS {'NOT NULL' if filters.snoozed else 'NULL'}"
