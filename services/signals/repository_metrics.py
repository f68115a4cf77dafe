"""The SQL of the metric registry."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.signals.models import Metric


async def every(session: AsyncSession) -> list[Metric]:
    """The whole registry, in the order of the ids."""
    return list((await session.scalars(select(Metric).order_by(Metric.metric_id))).all())


async def page(session: AsyncSession, after: str | None, rows: int) -> list[Metric]:
    """Up to so many metrics after an id, in the order of the ids."""
    query = select(Metric).where(Metric.metric_id > (after or "")).order_by(Metric.metric_id).limit(rows)
    return list((await session.scalars(query)).all())


async def count(session: AsyncSession) -> int:
    """How many are registered."""
    return int((await session.execute(select(func.count()).select_from(Metric))).scalar_one())


async def one(session: AsyncSession, metric_id: str) -> Metric | None:
    """A metric, if it is registered."""
    return await session.get(Metric, metric_id)


async def locked(session: AsyncSession, metric_id: str) -> Metric | None:
    """A metric that nobody else changes, or registers, until the transaction ends."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtext("compass.metric"), func.hashtext(metric_id))))
    return await session.get(Metric, metric_id, populate_existing=True)


async def store(session: AsyncSession, metric_id: str, user_id: UUID | None, sequence: int, **values: Any) -> Metric:
    """Register a metric, or replace what is registered of it."""
    written = values | {"event_sequence": sequence, "updated_by": user_id, "updated_at": func.now()}
    statement = (
        insert(Metric)
        .values(metric_id=metric_id, **written)
        .on_conflict_do_update(index_elements=[Metric.metric_id], set_=written)
        .returning(Metric)
    )
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one()
