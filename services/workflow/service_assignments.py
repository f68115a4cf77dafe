"""The list of assignments."""

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository_assignments
from services.workflow.repository_assignments import Filters
from services.workflow.schemas import AssignmentPage
from services.workflow.service_views import Work, listed
from shared.auth import User
from shared.pagination import cut, decode_cursor


async def page(session: AsyncSession, user: User, filters: Filters, cursor: str | None, limit: int) -> AssignmentPage:
    """Assignments that match, the newest first.

    Raises:
        InvalidError: ``bad_cursor``.
    """
    after = decode_cursor(cursor, repository_assignments.Key) if cursor else None
    found = await repository_assignments.page(session, filters, after, limit + 1)
    rows, following = cut(found, limit, lambda row: (row.assignment.created_at, row.assignment.id))
    works = [Work(row.signal, row.assignment, None if row.signal.is_current else row.current_signal_id) for row in rows]
    return AssignmentPage(
        assignments=await listed(session, user, works),
        limit=limit,
        cursor=following,
        has_more=following is not None,
    )
