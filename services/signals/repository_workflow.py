"""The service's own copy of what other services decide: workflow states on the signals' rows, and users' names."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, Self
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.events.vocabulary import AssignmentStatus


class WorkflowState(Struct, frozen=True):
    """The workflow state of a signal. `superseded_signal_id` is the detection that it was carried over from."""

    signal_id: UUID
    sequence: int
    status: AssignmentStatus
    assignment_id: UUID
    assignee_id: UUID | None
    closed_at: datetime | None
    superseded_signal_id: UUID | None

    def after(self, earlier: Self) -> Self:
        """This state where it follows another: where the assignment came from is told only once."""
        if self.superseded_signal_id is not None:
            return self
        return msgspec.structs.replace(self, superseded_signal_id=earlier.superseded_signal_id)


class UserName(Struct, frozen=True):
    """A user as far as signals show one."""

    user_id: UUID
    sequence: int
    name: str
    is_active: bool

    def after(self, earlier: Self) -> Self:  # noqa: ARG002 - an event tells the whole user
        """This state where it follows another."""
        return self


_NEWS: Final = """
    unnest(CAST(:ids AS uuid[]), CAST(:sequences AS integer[]), CAST(:statuses AS text[]),
           CAST(:assignments AS uuid[]), CAST(:assignees AS uuid[]), CAST(:closings AS timestamptz[]))
        AS news (signal_id, sequence, status, assignment_id, assignee_id, closed_at)
"""


def _apply_to(table: str) -> str:
    return f"""
        UPDATE {table} AS s
        SET workflow_status = CAST(news.status AS assignment_status), assignment_id = news.assignment_id,
            assignee_id = news.assignee_id, closed_at = news.closed_at, workflow_sequence = news.sequence
        FROM {_NEWS}
        WHERE s.id = news.signal_id AND s.workflow_sequence <= news.sequence
    """  # noqa: S608 - constants


_APPLY = text(_apply_to("signals"))
_APPLY_TO_ARCHIVE = text(_apply_to("archived_signals"))
_KNOWN = text("SELECT id FROM signals WHERE id = ANY(:ids)")
_KNOWN_OR_ARCHIVED = text(
    "SELECT id FROM signals WHERE id = ANY(:ids) UNION ALL SELECT id FROM archived_signals WHERE id = ANY(:ids)"
)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('compass.waiting-workflow'), hashtext(current_schema()))")
_WAIT = text(
    f"""
    INSERT INTO waiting_workflow_states AS waiting
        (signal_id, workflow_sequence, workflow_status, assignment_id, assignee_id, closed_at)
    SELECT signal_id, sequence, CAST(status AS assignment_status), assignment_id, assignee_id, closed_at
    FROM {_NEWS}
    ON CONFLICT (signal_id) DO UPDATE
    SET workflow_sequence = excluded.workflow_sequence, workflow_status = excluded.workflow_status,
        assignment_id = excluded.assignment_id, assignee_id = excluded.assignee_id, closed_at = excluded.closed_at
    WHERE waiting.workflow_sequence <= excluded.workflow_sequence
    """  # noqa: S608 - a constant
)
_SUPERSEDE = text(
    """
    UPDATE signals SET workflow_status = 'new', assignment_id = NULL, assignee_id = NULL
    FROM unnest(CAST(:ids AS uuid[]), CAST(:assignments AS uuid[])) AS moved (signal_id, assignment_id)
    WHERE signals.id = moved.signal_id AND signals.assignment_id = moved.assignment_id
    """
)
_STORE_USERS = text(
    """
    INSERT INTO users (id, sequence, name, is_active)
    SELECT * FROM unnest(
        CAST(:ids AS uuid[]), CAST(:sequences AS integer[]), CAST(:names AS text[]), CAST(:active AS boolean[])
    )
    ON CONFLICT (id) DO UPDATE
    SET sequence = excluded.sequence, name = excluded.name, is_active = excluded.is_active
    WHERE users.sequence <= excluded.sequence
    """
)


async def apply(session: AsyncSession, states: Sequence[WorkflowState]) -> None:
    """Take over states, at most one per signal; what is older than the copy changes nothing.

    A state that comes before its signal waits for it. A carried-over assignment leaves the older detection as if
    nobody had touched it, since the assignment is the newer one's now.
    """
    if not states:
        return
    states = sorted(states, key=lambda state: state.signal_id)
    await session.execute(_APPLY, _parameters(states))
    missing = await _unknown(session, _KNOWN, states)
    if missing:
        # Ingest shares this lock while it stores signals: with it held, either the row is seen here or the waiting
        # state will be seen there.
        await session.execute(_LOCK)
        await session.execute(_APPLY, _parameters(missing))
        await session.execute(_APPLY_TO_ARCHIVE, _parameters(missing))
        if missing := await _unknown(session, _KNOWN_OR_ARCHIVED, missing):
            await session.execute(_WAIT, _parameters(missing))
    moved = [state for state in states if state.superseded_signal_id is not None]
    if moved:
        await session.execute(
            _SUPERSEDE,
            {
                "ids": [state.superseded_signal_id for state in moved],
                "assignments": [state.assignment_id for state in moved],
            },
        )


async def store_users(session: AsyncSession, users: Collection[UserName]) -> None:
    """Take over users' names, at most one state per user; an older state changes nothing."""
    if users:
        ordered = sorted(users, key=lambda user: user.user_id)
        await session.execute(
            _STORE_USERS,
            {
                "ids": [user.user_id for user in ordered],
                "sequences": [user.sequence for user in ordered],
                "names": [user.name for user in ordered],
                "active": [user.is_active for user in ordered],
            },
        )


async def _unknown(
    session: AsyncSession, statement: TextClause, states: Sequence[WorkflowState]
) -> list[WorkflowState]:
    result = await session.execute(statement, {"ids": [state.signal_id for state in states]})
    known = set(result.scalars())
    return [state for state in states if state.signal_id not in known]


def _parameters(states: Sequence[WorkflowState]) -> dict[str, list[object]]:
    return {
        "ids": [state.signal_id for state in states],
        "sequences": [state.sequence for state in states],
        "statuses": [state.status.value for state in states],
        "assignments": [state.assignment_id for state in states],
        "assignees": [state.assignee_id for state in states],
        "closings": [state.closed_at for state in states],
    }
