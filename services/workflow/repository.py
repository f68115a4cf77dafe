"""SQL of assignments and their history, and of what is known of signals and users."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow.models import Assignment, AssignmentTransition, KnownSignal, KnownUser
from shared.db import AnySession, raw_connection
from shared.events.vocabulary import AssignmentStatus

Record: TypeAlias = Any
"""A row by the names of its columns."""


async def lock_signals(session: AsyncSession, signal_ids: Collection[UUID]) -> Sequence[KnownSignal]:
    """Those of the signals that were heard of, locked: nobody else changes their assignments, and no newer detection
    supersedes them, until the end.

    Always in the same order, so that those who share some of them wait instead of blocking each other.
    """
    query = select(KnownSignal).where(KnownSignal.signal_id.in_(signal_ids)).order_by(KnownSignal.signal_id)
    locked = await session.execute(query.with_for_update().execution_options(populate_existing=True))
    return locked.scalars().all()


async def current_signal_ids(session: AsyncSession, entity_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """The latest detection here, by entity."""
    query = select(KnownSignal.entity_id, KnownSignal.signal_id).where(
        KnownSignal.entity_id.in_(entity_ids), KnownSignal.is_current
    )
    return {row.entity_id: row.signal_id for row in await session.execute(query)}


async def assignments_at(session: AsyncSession, signal_ids: Collection[UUID]) -> dict[UUID, Assignment]:
    """The assignments that stand at these detections now, by signal."""
    query = select(Assignment).where(Assignment.signal_id.in_(signal_ids))
    return {assignment.signal_id: assignment for assignment in (await session.execute(query)).scalars()}


async def assignments_that_left(session: AsyncSession, signal_ids: Collection[UUID]) -> dict[UUID, Assignment]:
    """The assignments that stood at these detections before they were carried over to newer ones, by signal."""
    moved = (
        select(AssignmentTransition.signal_id, AssignmentTransition.assignment_id)
        .ext(distinct_on(AssignmentTransition.signal_id))
        .where(AssignmentTransition.signal_id.in_(signal_ids))
        .order_by(AssignmentTransition.signal_id, AssignmentTransition.id.desc())
        .subquery()
    )
    query = select(moved.c.signal_id, Assignment).join(Assignment, Assignment.id == moved.c.assignment_id)
    return {row.signal_id: row.Assignment for row in await session.execute(query)}


class ClosedAt(NamedTuple):
    """An assignment that was closed, and where in its entity's chain of detections."""

    entity_id: UUID
    signal_id: UUID
    closed_at: datetime | None
    detected_at: datetime


async def closed(session: AsyncSession, entity_ids: Collection[UUID]) -> list[ClosedAt]:
    """All closed assignments of these entities."""
    query = (
        select(Assignment.entity_id, Assignment.signal_id, Assignment.closed_at, KnownSignal.detected_at)
        .join(KnownSignal, KnownSignal.signal_id == Assignment.signal_id)
        .where(Assignment.entity_id.in_(entity_ids), Assignment.status == AssignmentStatus.CLOSED)
    )
    return [ClosedAt(*row) for row in await session.execute(query)]


async def lock_assignments(session: AsyncSession, entity_ids: Collection[UUID]) -> Sequence[Assignment]:
    """All assignments of these entities, locked; the caller holds the lock on each entity's current signal."""
    query = (
        select(Assignment)
        .where(Assignment.entity_id.in_(entity_ids))
        .order_by(Assignment.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return (await session.execute(query)).scalars().all()


_HISTORY: Final = """
    SELECT t.kind::text, t.from_status::text, t.to_status::text, t.created_at, t.actor_id, t.actor_name, t.assignee_id,
        t.assignee_name, t.notes, t.resolution_notes, t.resolution_reason::text, t.rule_id, t.rule_version,
        t.assignment_id, t.signal_id, t.previous_signal_id
    FROM known_signals AS s LEFT JOIN assignment_transitions AS t ON t.entity_id = s.entity_id
    WHERE s.signal_id = $1 ORDER BY t.id
"""


async def history(session: AnySession, signal_id: UUID) -> list[Record] | None:
    """Every transition along the chain of the signal's entity, oldest first; None for an unknown signal."""
    connection = await raw_connection(session)
    records: list[Record] = await connection.fetch(_HISTORY, signal_id)
    return [record for record in records if record["kind"] is not None] if records else None


async def store(session: AsyncSession, *rows: Assignment | AssignmentTransition) -> None:
    """Write new and changed rows now, in this order."""
    session.add_all(rows)
    await session.flush()


async def users(session: AsyncSession, user_ids: Collection[UUID]) -> dict[UUID, KnownUser]:
    """Those of the users who were heard of."""
    if not user_ids:
        return {}
    found = await session.execute(select(KnownUser).where(KnownUser.user_id.in_(user_ids)))
    return {user.user_id: user for user in found.scalars()}


async def names_of(session: AsyncSession, user_ids: Collection[UUID]) -> dict[UUID, str]:
    """The names of those of the users who were heard of."""
    if not user_ids:
        return {}
    query = select(KnownUser.user_id, KnownUser.name).where(KnownUser.user_id.in_(user_ids))
    return {row.user_id: row.name for row in await session.execute(query)}


_ASSIGNEES: Final = """
    SELECT user_id AS id, name, role::text FROM known_users WHERE is_active AND role <> 'viewer' ORDER BY name, user_id
"""


async def assignees(session: AnySession) -> list[Record]:
    """Everyone who can be assigned, by name: id, name and role."""
    connection = await raw_connection(session)
    records: list[Record] = await connection.fetch(_ASSIGNEES)
    return records
