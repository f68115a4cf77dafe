"""The list of assignments."""

from typing import Any

import msgspec

from services.workflow import repository_assignments
from services.workflow.repository_assignments import Filters
from services.workflow.repository_views import Look
from services.workflow.schemas import SignalView
from services.workflow.service_views import Fields, shown
from shared.auth import User
from shared.db import AnySession
from shared.pagination import cut, decode_cursor

_SIGNAL = tuple(SignalView.model_fields)


async def page(session: AnySession, user: User, filters: Filters, cursor: str | None, limit: int) -> bytes:
    """Assignments that match, the newest first, as the JSON of an `AssignmentPage`.

    Raises:
        InvalidError: ``bad_cursor``.
    """
    after = decode_cursor(cursor, repository_assignments.Key) if cursor else None
    found = await repository_assignments.page(session, filters, after, limit + 1)
    looks, following = cut(found, limit, lambda look: (look.assignment.created_at, look.assignment.id))
    page: dict[str, Any] = {
        "assignments": [_listed(user, look) for look in looks],
        "limit": limit,
        "cursor": following,
        "has_more": following is not None,
    }
    return msgspec.json.encode(page)


def _listed(user: User, look: Look) -> Fields:
    """An assignment with what a list calls its signal."""
    return shown(user, look) | {"signal": {name: getattr(look.signal, name) for name in _SIGNAL}}
