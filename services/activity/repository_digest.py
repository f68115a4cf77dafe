"""SQL of the digest: which events and assignments somebody must know of, and how many there are.

Each search ends at the cap of counts, from the newest backwards, so that a long absence costs no more than a short one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.events.vocabulary import ActivityEventType
from shared.pagination import COUNT_CAP


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time; ``since`` is included, ``until`` is not."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """The worst events of one kind, by id, and how many there are, up to one more than the cap."""

    event_ids: tuple[UUID, ...]
    total: int


_FIND: Final = """
    WITH found AS (
        SELECT id, severity, created_at FROM activity_events
        WHERE {condition} AND created_at >= :since AND created_at < :until
        ORDER BY created_at DESC, id DESC LIMIT :cap
    )
    SELECT id, (SELECT count(*) FROM found) AS total FROM found
    ORDER BY severity DESC NULLS LAST, created_at DESC, id LIMIT :shown
"""


def _find(condition: str) -> Any:
    return text(_FIND.replace("{condition}", condition))


_CRITICAL: Final = _find("critical")
_OF_TYPE: Final = _find("event_type = CAST(:event_type AS activity_event_type)")
# Given by somebody else, and still theirs to do: what was taken back or done meanwhile is no news.
_ASSIGNED: Final = _find(
    """
    assignee_id = :user_id AND user_id IS DISTINCT FROM :user_id AND type LIKE 'compass.signal.assigned.v%'
    AND payload ->> 'reason' IS DISTINCT FROM 'carried_over' AND EXISTS (
        SELECT FROM known_assignments AS known
        WHERE known.assignee_id = :user_id AND known.status IN ('assigned', 'in_progress')
          AND CAST(known.assignment_id AS text) = payload #>> '{assignment,assignment_id}'
    )
    """
)
_ESCALATED: Final = _find(
    """
    event_type = 'assignment'
    AND payload @> jsonb_build_object('escalated_to', jsonb_build_array(
        jsonb_build_object('user_id', CAST(CAST(:user_id AS uuid) AS text))))
    """
)

_OVERDUE: Final = text(
    """
    WITH found AS (
        SELECT * FROM known_assignments
        WHERE status IN ('assigned', 'in_progress') AND due_at < :now
          AND NOT snoozed_until_worse AND (snoozed_until IS NULL OR snoozed_until <= :now)
          AND (CAST(:role_type AS text) IS NULL OR role_type = :role_type OR assignee_id = :user_id)
        ORDER BY due_at LIMIT :cap
    )
    SELECT found.*, (SELECT count(*) FROM found) AS total FROM found ORDER BY due_at, assignment_id LIMIT :shown
    """
)

_ROLE: Final = text(
    """
    SELECT envelope #>> '{data,user,role}' AS role, envelope #>> '{data,user,name}' AS name,
           coalesce(envelope #>> '{data,user,is_active}', '') = 'true' AS is_active
    FROM audit_log
    WHERE subject = :user_id AND source = :source AND envelope #>> '{data,user,role}' IS NOT NULL
    ORDER BY sequence DESC LIMIT 1
    """
)


async def critical(session: AsyncSession, window: Window, shown: int) -> Found:
    """New signals that are critical."""
    return await _run(session, _CRITICAL, window, shown)


async def of_type(session: AsyncSession, event_type: ActivityEventType, window: Window, shown: int) -> Found:
    """Events of one type."""
    return await _run(session, _OF_TYPE, window, shown, event_type=event_type.value)


async def assigned(session: AsyncSession, user_id: UUID, window: Window, shown: int) -> Found:
    """Work that others, or a rule, gave the user."""
    return await _run(session, _ASSIGNED, window, shown, user_id=user_id)


async def escalated(session: AsyncSession, user_id: UUID, window: Window, shown: int) -> Found:
    """Overdue work of others that the user should see to."""
    return await _run(session, _ESCALATED, window, shown, user_id=user_id)


async def overdue(
    session: AsyncSession, user_id: UUID, role_type: str | None, now: datetime, shown: int
) -> Sequence[Row[Any]]:
    """Open assignments past their date: of a role and the user's own, or all; the longest overdue first."""
    given = {"user_id": user_id, "role_type": role_type, "now": now, "cap": COUNT_CAP + 1, "shown": shown}
    return (await session.execute(_OVERDUE, given)).all()


async def known_user(session: AsyncSession, user_id: UUID, source: str) -> Row[Any] | None:
    """The name and role that the producer of users told last; None for somebody unheard of."""
    return (await session.execute(_ROLE, {"user_id": user_id, "source": source})).one_or_none()


async def _run(session: AsyncSession, statement: Any, window: Window, shown: int, **more: Any) -> Found:
    given = {"since": window.since, "until": window.until, "cap": COUNT_CAP + 1, "shown": shown}
    rows = (await session.execute(statement, given | more)).all()
    return Found(tuple(row.id for row in rows), rows[0].total if rows else 0)
