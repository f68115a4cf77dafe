"""SQL of interventions, and of the detections that they are measured by."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import exists, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow.models import Intervention, KnownSignal
from shared.db import AnySession, raw_connection
from shared.events.signals import MetricChanged
from shared.events.vocabulary import MetricPolarity
from shared.events.workflow import InterventionKind

Key = tuple[datetime, UUID]
"""Where an intervention stands in the list: started_at and id, the latest first."""


async def store(session: AsyncSession, *interventions: Intervention) -> None:
    """Write new and changed interventions now."""
    session.add_all(interventions)
    await session.flush()


class InterventionRow(NamedTuple):
    """What is shown of an `Intervention`, by the names of its fields."""

    id: UUID
    signal_id: UUID
    entity_id: UUID
    kind: InterventionKind
    title: str
    notes: str | None
    started_at: datetime
    window_begins_at: datetime
    window_ends_at: datetime
    measure_by: datetime
    measurement: dict[str, Any] | None
    measured_at: datetime | None
    measured_by: UUID | None
    measured_by_name: str | None
    created_by: UUID
    created_by_name: str
    created_at: datetime
    version: int


# One row for each intervention; for a known signal without any, one without an intervention.
_PAGE: Final = """
    SELECT i.id, i.signal_id, i.entity_id, i.kind::text, i.title, i.description AS notes, i.started_at,
        i.window_begins_at, i.window_ends_at, i.measure_by, i.measurement::text, i.measured_at, i.measured_by,
        i.measured_by_name, i.created_by, i.created_by_name, i.created_at, i.version
    FROM known_signals AS s LEFT JOIN LATERAL (
        SELECT * FROM interventions AS i WHERE i.entity_id = s.entity_id {after}
        ORDER BY i.started_at DESC, i.id DESC LIMIT $2
    ) AS i ON true
    WHERE s.signal_id = $1 ORDER BY i.started_at DESC, i.id DESC
"""
_FIRST_PAGE: Final = _PAGE.format(after="")
_NEXT_PAGE: Final = _PAGE.format(after="AND (i.started_at, i.id) < ($3, $4)")


async def page(session: AnySession, signal_id: UUID, after: Key | None, limit: int) -> list[InterventionRow] | None:
    """Interventions on any detection of the signal's entity after a key, at most so many; None for an unknown one."""
    connection = await raw_connection(session)
    if after is None:
        records = await connection.fetch(_FIRST_PAGE, signal_id, limit)
    else:
        records = await connection.fetch(_NEXT_PAGE, signal_id, limit, *after)
    return [_row(record) for record in records if record["id"] is not None] if records else None


def _row(record: Any) -> InterventionRow:
    fields = dict(record)
    kind, measurement = InterventionKind(fields.pop("kind")), fields.pop("measurement")
    return InterventionRow(
        kind=kind, measurement=None if measurement is None else msgspec.json.decode(measurement), **fields
    )


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


class Detection(NamedTuple):
    """One detection of an entity, and what is known of its metric's target range."""

    detected_at: datetime
    value: float
    peer_mean: float | None
    polarity: MetricPolarity
    signal_type: str
    target_low: float | None
    target_high: float | None


_DETECTIONS: Final = """
    SELECT s.detected_at, s.metric_value::float8, s.peer_mean::float8, s.polarity::text, s.signal_type,
        m.target_low::float8, m.target_high::float8
    FROM known_signals AS s LEFT JOIN known_metrics AS m ON m.metric_id = s.metric_id
    WHERE s.entity_id = $1 AND s.detected_at BETWEEN $2 AND $3 ORDER BY s.detected_at
"""


async def detections(session: AnySession, entity_id: UUID, since: datetime, until: datetime) -> list[Detection]:
    """The entity's detections from one moment to another, oldest first."""
    connection = await raw_connection(session)
    records = await connection.fetch(_DETECTIONS, entity_id, since, until)
    return [
        Detection(detected_at, value, peer_mean, MetricPolarity(polarity), *rest)
        for detected_at, value, peer_mean, polarity, *rest in records
    ]


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
