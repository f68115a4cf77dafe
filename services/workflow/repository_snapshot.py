"""SQL of the snapshot command: assignments and rules a batch at a time, with the sequence of their last event."""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow.models import Assignment, KnownSignal, OwnershipRule
from shared.tables import event_sequences


class ToldAssignment(NamedTuple):
    """An assignment at its signal, and the sequence of the last event about the signal."""

    assignment: Assignment
    signal: KnownSignal
    sequence: int


class ToldRule(NamedTuple):
    """A rule, and the sequence of the last event about it."""

    rule: OwnershipRule
    sequence: int


async def lock_signals(session: AsyncSession, after: UUID | None, rows: int) -> Sequence[UUID]:
    """The next signals that have an assignment, by id, locked: nothing is told of them until the end."""
    query = (
        select(KnownSignal.signal_id)
        .join(Assignment, Assignment.signal_id == KnownSignal.signal_id)
        .order_by(KnownSignal.signal_id)
        .limit(rows)
        .with_for_update(of=KnownSignal)
    )
    if after is not None:
        query = query.where(KnownSignal.signal_id > after)
    return (await session.execute(query)).scalars().all()


async def lock_these_signals(session: AsyncSession, signal_ids: Collection[UUID]) -> None:
    """Let nothing be told of these signals until the end."""
    query = select(KnownSignal.signal_id).where(KnownSignal.signal_id.in_(signal_ids))
    await session.execute(query.order_by(KnownSignal.signal_id).with_for_update())


async def existing(session: AsyncSession, assignment_ids: Collection[UUID]) -> set[UUID]:
    """Those of the assignments that there are, at whatever signal."""
    return set(await session.scalars(select(Assignment.id).where(Assignment.id.in_(assignment_ids))))


async def assignments(session: AsyncSession, signal_ids: Sequence[UUID]) -> list[ToldAssignment]:
    """The assignments at these signals, which are locked; one that was carried over meanwhile is told of elsewhere."""
    query = (
        select(Assignment, KnownSignal, event_sequences.c.last)
        .join(KnownSignal, KnownSignal.signal_id == Assignment.signal_id)
        .join(event_sequences, event_sequences.c.subject == Assignment.signal_id)
        .where(Assignment.signal_id.in_(signal_ids))
        .order_by(Assignment.signal_id)
    )
    return [ToldAssignment(*row) for row in await session.execute(query)]


async def count_assignments(session: AsyncSession) -> int:
    """How many assignments there are."""
    return (await session.execute(select(func.count()).select_from(Assignment))).scalar_one()


async def lock_rules(session: AsyncSession, after: UUID | None, rows: int) -> list[ToldRule]:
    """The next rules by id, the deleted ones too, locked: nothing is told of them until the end."""
    query = (
        select(OwnershipRule, event_sequences.c.last)
        .join(event_sequences, event_sequences.c.subject == OwnershipRule.id)
        .order_by(OwnershipRule.id)
        .limit(rows)
        .with_for_update(of=OwnershipRule)
    )
    if after is not None:
        query = query.where(OwnershipRule.id > after)
    return [ToldRule(*row) for row in await session.execute(query)]


async def count_rules(session: AsyncSession) -> int:
    """How many rules there are, the deleted ones too."""
    return (await session.execute(select(func.count()).select_from(OwnershipRule))).scalar_one()
