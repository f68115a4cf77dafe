"""The engine's insights: each stored once, told of once, and shown with the entity's signal.

One that comes before its entity's first signal waits for it. The lock that ingest shares while it stores signals keeps
the two from missing each other.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from services.signals import repository, repository_ingest, repository_insights, repository_states
from services.signals.repository_insights import NewInsight
from services.signals.repository_states import StoredSignal
from services.signals.schemas_insights import InsightPage, InsightView
from services.signals.service_summaries import insight as insight_summary
from services.signals.service_validation import rounded
from shared import outbox
from shared.errors import NotFoundError
from shared.events.decoding import RejectedMessageError, convert, decode_object
from shared.events.engine import EngineInsight, dimensions_hash, entity_id
from shared.events.signals import INSIGHT_GENERATED, InsightGenerated
from shared.events.vocabulary import ActivityEventType
from shared.outbox import Event
from shared.pagination import cut, decode_cursor
from shared.telemetry import Cause

_KNOWN_FIELDS: Final = frozenset(EngineInsight.__struct_fields__)
_encode: Final = msgspec.json.Encoder().encode


def read(raw: bytes | None) -> NewInsight:
    """Decode and validate one message of ``engine.insights.v1``.

    The id says what it is about and what it says: published again, it is the same insight.

    Raises:
        RejectedMessageError: with a reason for the person who looks into the dead letters.
    """
    document = decode_object(raw)
    message = convert(document, EngineInsight)
    confidence = rounded("confidence", message.confidence, 5, 4)
    if confidence is None:
        raise RejectedMessageError("invalid_field", "confidence is missing.")
    dimensions = message.entity_dimensions_hash or dimensions_hash(message.entity_dimensions)
    entity = entity_id(message.canonical_node_id, message.metric_id, message.facility_id, dimensions)
    extra = {name: value for name, value in document.items() if name not in _KNOWN_FIELDS}
    name = _encode((message.title, message.text, confidence)).decode()
    return NewInsight(uuid5(entity, name), entity, message.title, message.text, confidence, extra or None)


async def store(session: AsyncSession, insights: Iterable[tuple[NewInsight, Cause]]) -> None:
    """Store what is new of a batch, and tell of what belongs to a signal that is here."""
    causes: dict[UUID, Cause] = {}
    heard: dict[UUID, NewInsight] = {}
    for insight, cause in insights:
        heard.setdefault(insight.id, insight)
        causes.setdefault(insight.id, cause)
    for known in await repository_insights.known(session, heard):
        del heard[known]
    if not heard:
        return
    entities = {insight.entity_id for insight in heard.values()}
    signals = await repository_states.lock_current(session, entities)
    if missing := entities - signals.keys():
        await repository_insights.keep_signals_from_coming(session)
        signals |= await repository_states.lock_current(session, missing)
    ids = {entity: signal.signal_id for entity, signal in signals.items()}
    stored = await repository_insights.store(session, list(heard.values()), ids)
    await _tell(session, [insight for insight in heard.values() if insight.id in stored], signals, causes)


async def attach(session: AsyncSession, entity_ids: Collection[UUID]) -> None:
    """Give the insights that waited for these entities their signals, which the transaction has just stored."""
    if not entity_ids:
        return
    waiting = await repository_insights.waiting(session, entity_ids)
    if not waiting:
        return
    signals = await repository_states.lock_current(session, {insight.entity_id for insight in waiting})
    found = {insight.id: signals[insight.entity_id].signal_id for insight in waiting}
    await repository_insights.attach(session, found)
    await _tell(session, waiting, signals, {})


async def page(session: AsyncSession, signal_id: UUID, limit: int, cursor: str | None) -> InsightPage:
    """Insights on a signal, newest first.

    Raises:
        NotFoundError: without the signal.
        InvalidError: for a cursor of another list.
    """
    after = None if cursor is None else decode_cursor(cursor, tuple[datetime, UUID])
    found = await repository_insights.page(session, signal_id, after, limit + 1)
    if not found and not await repository.exists(session, signal_id):
        raise NotFoundError("There is no signal with this id.")
    rows, following = cut(found, limit, lambda row: (row.received_at, row.id))
    return InsightPage(
        insights=[
            InsightView(
                id=row.id, title=row.title, text=row.text, confidence=float(row.confidence), received_at=row.received_at
            )
            for row in rows
        ],
        cursor=following,
        has_more=following is not None,
    )


async def _tell(
    session: AsyncSession,
    insights: Sequence[NewInsight],
    signals: Mapping[UUID, StoredSignal],
    causes: Mapping[UUID, Cause],
) -> None:
    """Publish the insights whose entity has a signal, under the next sequences of the signal's row, which is locked."""
    told = [insight for insight in insights if insight.entity_id in signals]
    if not told:
        return
    metrics = await repository_ingest.metrics(session, {signal.content.metric_id for signal in signals.values()})
    events = []
    for insight in told:
        signal = signals[insight.entity_id]
        signal.event_sequence += 1
        events.append(
            Event(
                type=INSIGHT_GENERATED,
                subject=signal.signal_id,
                key=signal.entity_id,
                sequence=signal.event_sequence,
                feed_type=ActivityEventType.INSIGHT,
                summary=insight_summary(signal.content, metrics.get(signal.content.metric_id), insight.title),
                cause=causes.get(insight.id),
                data=InsightGenerated(
                    signal=signal.state(),
                    insight_id=insight.id,
                    title=insight.title,
                    text=insight.text,
                    confidence=insight.confidence,
                ),
            )
        )
    touched = {signals[insight.entity_id].signal_id: signals[insight.entity_id].event_sequence for insight in told}
    await repository_states.set_sequences(session, touched)
    await outbox.publish(session, *events)
