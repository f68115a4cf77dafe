"""The SQL of insights: those that have found their signal, and those that wait for it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from services.signals.models import Insight
from shared.db import raw_connection


class NewInsight(Struct, frozen=True):
    """An insight as it came; its id is made of the entity and the content."""

    id: UUID
    entity_id: UUID
    title: str
    text: str
    confidence: float
    extra: dict[str, Any] | None


# Ingest shares this lock while it stores signals: with it held, either the signal is seen here, or the waiting insight
# will be seen there.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('compass.waiting-workflow'), hashtext(current_schema()))")
_KNOWN: Final = "SELECT id FROM insights WHERE id = ANY($1)"
_WAITING: Final = """
    SELECT id, entity_id, title, text, confidence FROM insights
    WHERE signal_id IS NULL AND entity_id = ANY($1) ORDER BY received_at, id FOR UPDATE
"""
_STORE: Final = """
    INSERT INTO insights (id, entity_id, signal_id, title, text, confidence, extra, received_at)
    SELECT id, entity_id, signal_id, title, text, confidence, CAST(extra AS jsonb),
           -- Of those that came together the later one is the newer one.
           statement_timestamp() + place * interval '1 microsecond'
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::numeric[], $7::text[])
        WITH ORDINALITY AS news (id, entity_id, signal_id, title, text, confidence, extra, place)
    ON CONFLICT DO NOTHING
    RETURNING id
"""
_ATTACH: Final = """
    UPDATE insights SET signal_id = found.signal_id
    FROM unnest($1::uuid[], $2::uuid[]) AS found (id, signal_id)
    WHERE insights.id = found.id
"""
_encode: Final = msgspec.json.Encoder().encode


async def known(session: AsyncSession, ids: Collection[UUID]) -> set[UUID]:
    """Those of the insights that are stored already."""
    connection = await raw_connection(session)
    return {record["id"] for record in await connection.fetch(_KNOWN, list(ids))}


async def keep_signals_from_coming(session: AsyncSession) -> None:
    """Let no signal be stored that does not see what this transaction stores, until it ends."""
    await session.execute(_LOCK)


async def store(session: AsyncSession, insights: Sequence[NewInsight], signals: Mapping[UUID, UUID]) -> set[UUID]:
    """Store insights with the signals of their entities, or waiting; the ids of those that were not stored before."""
    connection = await raw_connection(session)
    records = await connection.fetch(
        _STORE,
        [insight.id for insight in insights],
        [insight.entity_id for insight in insights],
        [signals.get(insight.entity_id) for insight in insights],
        [insight.title for insight in insights],
        [insight.text for insight in insights],
        [Decimal(repr(insight.confidence)) for insight in insights],
        [insight.extra and _encode(insight.extra).decode() for insight in insights],
    )
    return {record["id"] for record in records}


async def waiting(session: AsyncSession, entity_ids: Collection[UUID]) -> list[NewInsight]:
    """The insights that wait for a signal of these entities, in the order in which they came."""
    connection = await raw_connection(session)
    return [
        NewInsight(
            record["id"], record["entity_id"], record["title"], record["text"], float(record["confidence"]), None
        )
        for record in await connection.fetch(_WAITING, list(entity_ids))
    ]


async def attach(session: AsyncSession, signals: Mapping[UUID, UUID]) -> None:
    """Give waiting insights, by id, their signals."""
    connection = await raw_connection(session)
    await connection.execute(_ATTACH, list(signals), list(signals.values()))


async def page(
    session: AsyncSession, signal_id: UUID, after: tuple[datetime, UUID] | None, rows: int
) -> Sequence[Insight]:
    """Up to so many insights on a signal, newest first."""
    query = select(Insight).where(Insight.signal_id == signal_id)
    if after is not None:
        query = query.where(tuple_(Insight.received_at, Insight.id) < after)
    query = query.order_by(Insight.received_at.desc(), Insight.id.desc()).limit(rows)
    return (await session.scalars(query)).all()
