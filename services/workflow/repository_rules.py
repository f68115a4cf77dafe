"""SQL of ownership rules and their versions."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow.models import KnownSignal, OwnershipRule, OwnershipRuleVersion


async def rules(session: AsyncSession) -> Sequence[OwnershipRule]:
    """All rules that are not deleted, in the order in which they are tried."""
    query = select(OwnershipRule).where(OwnershipRule.deleted_at.is_(None)).order_by(OwnershipRule.position)
    return (await session.execute(query.execution_options(populate_existing=True))).scalars().all()


async def lock_rules(session: AsyncSession) -> Sequence[OwnershipRule]:
    """As `rules`; nobody else changes any of them until the end. Reading them, and naming them, goes on."""
    await session.execute(text("LOCK TABLE ownership_rules IN SHARE ROW EXCLUSIVE MODE"))
    return await rules(session)


async def find(session: AsyncSession, rule_id: UUID) -> OwnershipRule | None:
    """A rule that is not deleted."""
    query = select(OwnershipRule).where(OwnershipRule.id == rule_id, OwnershipRule.deleted_at.is_(None))
    return (await session.execute(query)).scalar_one_or_none()


async def store(session: AsyncSession, *rows: OwnershipRule | OwnershipRuleVersion) -> None:
    """Write new and changed rows now."""
    session.add_all(rows)
    await session.flush()


async def exists(session: AsyncSession, rule_id: UUID) -> bool:
    """Whether there is, or was, such a rule."""
    return await session.get(OwnershipRule, rule_id) is not None


async def versions(
    session: AsyncSession, rule_id: UUID, before: int | None, limit: int
) -> Sequence[OwnershipRuleVersion]:
    """The versions of a rule, the newest first; a deleted one has them too."""
    query = (
        select(OwnershipRuleVersion)
        .where(OwnershipRuleVersion.rule_id == rule_id)
        .order_by(OwnershipRuleVersion.version.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(OwnershipRuleVersion.version < before)
    return (await session.execute(query)).scalars().all()


async def latest_signals(session: AsyncSession, limit: int) -> Sequence[KnownSignal]:
    """The latest signals by detection, without those that came as history."""
    query = (
        select(KnownSignal)
        .where(KnownSignal.was_current)
        .order_by(KnownSignal.detected_at.desc(), KnownSignal.signal_id)
        .limit(limit)
    )
    return (await session.execute(query)).scalars().all()
