"""SQL of what has become due, or is to be woken. Several processes may look at once: each gets other rows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from services.workflow.models import Assignment, KnownSignal, KnownUser
from services.workflow.repository_filters import WORKED_ON
from shared.events.vocabulary import UserRole


class Found(NamedTuple):
    """An assignment and its signal, which is locked: nobody else changes either until the end."""

    assignment: Assignment
    signal: KnownSignal


async def lock_to_wake(session: AsyncSession, now: datetime, limit: int) -> list[Found]:
    """What was snoozed until a date that has come."""
    return await _lock(session, Assignment.snoozed_until <= now, Assignment.snoozed_until, limit)


async def lock_to_remind(
    session: AsyncSession, now: datetime, ahead: timedelta, after: timedelta, limit: int
) -> list[Found]:
    """What has a reminder or an escalation left: due soon, due, or due for a while."""
    left = or_(
        and_(Assignment.due_at > now, Assignment.due_at <= now + ahead, Assignment.reminded_at.is_(None)),
        and_(Assignment.due_at <= now, Assignment.due_reminded_at.is_(None)),
        Assignment.due_at <= now - after,
    )
    wanted = and_(
        _is_worked_on(),
        Assignment.escalated_at.is_(None),
        Assignment.due_at <= now + ahead,
        left,
        # Not before it has been told that it is back, even if its date has come.
        Assignment.snoozed_at.is_(None),
    )
    return await _lock(session, wanted, Assignment.due_at, limit)


async def active_admins(session: AsyncSession) -> Sequence[KnownUser]:
    """All active administrators, by name."""
    query = (
        select(KnownUser)
        .where(KnownUser.is_active, KnownUser.role == UserRole.ADMIN)
        .order_by(KnownUser.name, KnownUser.user_id)
    )
    return (await session.execute(query)).scalars().all()


def _is_worked_on() -> ColumnElement[bool]:
    return Assignment.status.in_(WORKED_ON)


async def _lock(
    session: AsyncSession, wanted: ColumnElement[bool], order: InstrumentedAttribute[datetime | None], limit: int
) -> list[Found]:
    """Lock the signal before its assignment is read, as every writer does; what others have locked is left to them."""
    join = KnownSignal.signal_id == Assignment.signal_id
    locked = (
        select(KnownSignal.signal_id)
        .join(Assignment, join)
        .where(wanted)
        .order_by(order)
        .limit(limit)
        .with_for_update(of=KnownSignal, skip_locked=True)
    )
    signal_ids = (await session.execute(locked)).scalars().all()
    if not signal_ids:
        return []
    # Somebody may have changed it between the look and the lock.
    still = select(Assignment, KnownSignal).join(KnownSignal, join).where(Assignment.signal_id.in_(signal_ids), wanted)
    found = await session.execute(still.order_by(order, Assignment.id).execution_options(populate_existing=True))
    return [Found(*row) for row in found]
