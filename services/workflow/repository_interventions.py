"""SQL of interventions, and of the detections that they are measured by."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import exists, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow.models import Intervention, KnownMetric, KnownSignal
from shared.events.signals import MetricChanged

Key = tuple[datetime, UUID]
"""Where an intervention stands in the list: started_at and id, the latest first."""


async def store(session: AsyncSession, *interventions: Intervention) -> None:
    """Write new and changed interventions now."""
    session.add_all(interventions)
    await session.flush()


async def page(session: AsyncSession, entity_id: UUID, after: Key | None, limit: int) -> Sequence[Intervention]:
    """Interventions on any detection of the entity after a key, at most so many."""
    query = (
        select(Intervention)
        .where(Intervention.entity_id == entity_id)
        .order_by(Intervention.started_at.desc(), Intervention.id.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(Intervention.started_at, Intervention.id) < tuple_(*after))
    return (await session.execute(query)).scalars().all()


async def entity_of(session: AsyncSession, intervention_id: UUID) -> UUID | None:
    """The entity that an intervention is about; None for an unknown one."""
    query = select(Intervention.entity_id).where(Intervention.id == intervention_id)
    return (await session.execute(query)).scalar_one_or_none()


async def lock_current(
    session: AsyncSession, entity_ids: Collection[UUID], *, skip_locked: bool = False
) -> dict[UUID, KnownSignal]:
    """The current detection of each entity, locked: until the end nobody else writes on the entity's interventions.

    An entity is missing whose current detection was replaced while this waited, or with ``skip_locked`` is locked.
    """
    query = (
        select(KnownSignal)
        .where(KnownSignal.entity_id.in_(entity_ids), KnownSignal.is_current)
        .order_by(KnownSignal.signal_id)
        .with_for_update(skip_locked=skip_locked)
        .execution_options(populate_existing=True)
    )
    return {signal.entity_id: signal for signal in (await session.execute(query)).scalars()}


class Due(NamedTuple):
    """An intervention whose window has ended, not measured when it was looked for."""

    id: UUID
    entity_id: UUID


async def due(session: AsyncSession, now: datetime, limit: int) -> list[Due]:
    """Interventions to be measured: a detection has reached the window's end, or none has and time is up."""
    reached = exists().where(
        KnownSignal.entity_id == Intervention.entity_id, KnownSignal.detected_at >= Intervention.window_ends_at
    )
    query = (
        select(Intervention.id, Intervention.entity_id)
        .where(Intervention.outcome.is_(None), or_(Intervention.measure_by <= now, reached))
        .order_by(Intervention.window_ends_at)
        .limit(limit)
    )
    return [Due(*row) for row in await session.execute(query)]


async def unmeasured(session: AsyncSession, ids: Collection[UUID]) -> Sequence[Intervention]:
    """Those of the interventions that are not measured, by their window's end; their entities are locked."""
    query = (
        select(Intervention)
        .where(Intervention.id.in_(ids), Intervention.outcome.is_(None))
        .order_by(Intervention.window_ends_at, Intervention.id)
    )
    return (await session.execute(query)).scalars().all()


async def find(session: AsyncSession, intervention_id: UUID) -> Intervention:
    """An intervention that is there."""
    return (await session.execute(select(Intervention).where(Intervention.id == intervention_id))).scalar_one()


async def detections(session: AsyncSession, entity_id: UUID, since: datetime, until: datetime) -> Sequence[KnownSignal]:
    """The entity's detections from one moment to another, oldest first."""
    query = (
        select(KnownSignal)
        .where(KnownSignal.entity_id == entity_id, KnownSignal.detected_at >= since, KnownSignal.detected_at <= until)
        .order_by(KnownSignal.detected_at)
    )
    return (await session.execute(query)).scalars().all()


async def metric(session: AsyncSession, metric_id: str) -> KnownMetric | None:
    """A metric of the registry that was heard of."""
    return await session.get(KnownMetric, metric_id)


_STORE_METRICS = text(
    """
    INSERT INTO known_metrics AS known (metric_id, target_low, target_high, sequence)
    SELECT metric_id, low, high, sequence
    FROM unnest(
        CAST(:metric_id AS text[]), CAST(:low AS float8[]), CAST(:high AS float8[]), CAST(:sequence AS integer[])
    ) AS heard (metric_id, low, high, sequence)
    ORDER BY metric_id
    ON CONFLICT (metric_id) DO UPDATE SET
        target_low = excluded.target_low, target_high = excluded.target_high, sequence = excluded.sequence
    WHERE known.sequence <= excluded.sequence
    """
)


async def store_metrics(session: AsyncSession, heard: Collection[tuple[int, MetricChanged]]) -> None:
    """Store metrics, each once, with the sequence of the event that told of them, unless a later one is known."""
    ranges = [metric.target_range for _, metric in heard]
    await session.execute(
        _STORE_METRICS,
        {
            "metric_id": [metric.metric_id for _, metric in heard],
            "low": [None if target is None else target.low for target in ranges],
            "high": [None if target is None else target.high for target in ranges],
            "sequence": [sequence for sequence, _ in heard],
        },
    )
