"""The list of assignments."""

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository_assignments
from services.workflow.repository_assignments import Filters
from services.workflow.schemas import AssignmentPage
from services.workflow.service_views import Work, listed
from shared.auth import User
from shared.pagination import decode_cursor, encode_cursor


async def page(session: AsyncSession, user: User, filters: Filters, cursor: str | None, limit: int) -> AssignmentPage:
    """Assignments that match, the newest first.

    Raises:
        InvalidError: ``bad_cursor``.
    """
    after = decode_cursor(cursor, repository_assignments.Key) if cursor else None
    found = await repository_assignments.page(session, filters, after, limit + 1)
    rows, has_more = found[:limit], len(found) > limit
    works = [Work(row.signal, row.assignment, None if row.signal.is_current else row.current_signal_id) for row in rows]
    last = rows[-1].assignment if has_more else None
    return AssignmentPage(
        assignments=await listed(session, user, works),
        limit=limit,
        cursor=encode_cursor(last.created_at, last.id) if last else None,
        has_more=has_more,
    )
