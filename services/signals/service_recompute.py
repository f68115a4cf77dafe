"""Stored signals follow the thresholds and the metric registry: batch by batch, current ones first.

A batch is one transaction: rows locked, classified again, those that changed written and told of, and the place to go
on from. So it may be interrupted anywhere, and several may work on one scope.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final

import structlog
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from services.signals import repository_ingest, repository_recompute, repository_states
from services.signals.classification import ClassificationSettings
from services.signals.models import Recomputation
from services.signals.repository_states import StoredSignal
from services.signals.service_content import MetricEntry, differences
from services.signals.service_reclassification import reclassified
from services.signals.service_summaries import corrected
from services.signals.settings import SignalsSettings
from shared import outbox
from shared.db import SessionMaker
from shared.events.signals import SIGNAL_CORRECTED, SignalChanged
from shared.outbox import Event
from shared.supervision import look_again

logger = structlog.get_logger(__name__)

BATCH_SIZE: Final = 200
ALL_SIGNALS: Final = "settings"
"""The scope of all signals, for thresholds that changed."""

_ROWS_BETWEEN_PAUSES: Final = 25
_LOOK_SECONDS: Final = 1.0
# Between two batches of a service that has requests to answer.
_BREATH_SECONDS: Final = 0.02


class Turn(StrEnum):
    """What a batch came to."""

    WAITING = "waiting"
    """For transactions that still classify by what was before."""
    GOING_ON = "going_on"
    FINISHED = "finished"


def scope_of(metric_id: str) -> str:
    """The scope of one metric's signals."""
    return f"metric:{metric_id}"


def version_of(settings: ClassificationSettings) -> str:
    """A digest of all thresholds."""
    return sha256(settings.model_dump_json().encode()).hexdigest()


async def turn(
    session: AsyncSession, job: Recomputation, settings: ClassificationSettings, rows: int = BATCH_SIZE
) -> Turn:
    """Do the next batch of a scope, which is locked."""
    if job.finished_at is not None:
        return Turn.FINISHED
    if not await repository_recompute.is_ready(session, job):
        return Turn.WAITING
    signals = await repository_states.lock_page(
        session, metric_id=job.metric_id, current=not job.history, after=job.after_id, rows=rows
    )
    changed = await _classify(session, signals, settings)
    last = signals[-1].signal_id if len(signals) == rows else None
    outcome = Turn.FINISHED if last is None and job.history else Turn.GOING_ON
    await repository_recompute.advance(session, job, last, len(signals), changed)
    return outcome


async def _classify(session: AsyncSession, signals: Sequence[StoredSignal], settings: ClassificationSettings) -> int:
    """Classify locked rows again; answers how many changed."""
    metrics = await repository_ingest.metrics(session, {signal.content.metric_id for signal in signals})
    changed: list[StoredSignal] = []
    events: list[Event] = []
    now = datetime.now(UTC)
    for number, signal in enumerate(signals):
        if number % _ROWS_BETWEEN_PAUSES == 0:
            await asyncio.sleep(0)
        metric = metrics.get(signal.content.metric_id)
        content = reclassified(signal.content, metric, settings)
        names = differences(signal.content, content)
        if names:
            signal.content = content
            signal.event_sequence += 1
            changed.append(signal)
            events.append(_event(signal, metric, names, now))
    if changed:
        await repository_recompute.write(session, changed)
        await outbox.publish(session, *events)
    return len(changed)


def _event(signal: StoredSignal, metric: MetricEntry | None, changed: list[str], now: datetime) -> Event:
    return Event(
        type=SIGNAL_CORRECTED,
        subject=signal.signal_id,
        key=signal.entity_id,
        sequence=signal.event_sequence,
        time=now,
        summary=corrected(signal.content, metric, changed),
        data=SignalChanged(signal=signal.state(), changed=changed),
    )


async def follow_registry(app: FastAPI) -> None:
    """Work off what changes of the registry asked for, as long as the service runs."""
    settings: SignalsSettings = app.state.settings

    async def look() -> bool:
        more = await follow_once(app.state.session_maker, settings.classification)
        if more:
            await asyncio.sleep(_BREATH_SECONDS)
        return more

    await look_again("recomputation", look, _LOOK_SECONDS)


async def follow_once(maker: SessionMaker, settings: ClassificationSettings) -> bool:
    """The next batch that the registry asked for; whether there may be more to do at once."""
    async with maker() as session, session.begin():
        job = await repository_recompute.next_of_the_registry(session)
        if job is None:
            return False
        outcome = await turn(session, job, settings)
    if outcome is Turn.FINISHED:
        logger.info("signals follow the registry", metric_id=job.metric_id, version=job.version)
    return outcome is not Turn.WAITING
