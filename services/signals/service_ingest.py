"""What becomes of the engine's detections: new, newer, older, corrected or unchanged; and who is told.

`Folding` takes the messages one after the other and knows what the ones before it in the batch did, so that rows and
events are the same however the messages are cut into batches.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncSession

from services.signals import repository_ingest, service_archive, service_insights
from services.signals.classification import ClassificationSettings
from services.signals.service_content import Content, Known, MetricEntry, Past, content_of, differences, state_of
from services.signals.service_summaries import corrected, detected, recorded, redetected
from services.signals.service_validation import Detection, Identity
from shared import outbox
from shared.events.envelope import EventType
from shared.events.signals import (
    SIGNAL_CORRECTED,
    SIGNAL_DETECTED,
    SIGNAL_RECORDED,
    SIGNAL_REDETECTED,
    SignalChanged,
    SignalRedetected,
    SignalState,
)
from shared.events.vocabulary import ActivityEventType, MagnitudeTier, SignalType
from shared.outbox import Event
from shared.telemetry import Cause

_NOTICEABLE_SEVERITY: Final = 5
# Reading and folding a batch takes tens of milliseconds, in which requests would wait; so many messages take one.
_MESSAGES_BETWEEN_PAUSES: Final = 10
# The tiers that decide where the severity hardly moved, worst first.
_DECIDING_TIERS: Final = (
    MagnitudeTier.CRITICAL,
    MagnitudeTier.SEVERE,
    MagnitudeTier.ELEVATED,
    MagnitudeTier.MARGINAL,
)


ReadMessage = Callable[[int], Detection | None]
"""Reads the message at a place of the batch; None for one that turns out not to be valid."""


async def ingest(
    session: AsyncSession,
    identities: Sequence[Identity],
    read_message: ReadMessage,
    settings: ClassificationSettings,
    turn: asyncio.Lock,
) -> None:
    """Store the effects of a batch's messages, in their order, and publish what happened.

    Only what the database does not know yet is read, and each message is finished before the next one: so its objects
    are made, used and freed within the processor's cache, which takes a third off the time. A request needs several
    turns of the event loop, so only one batch at a time has a slice of each: the one whose ``turn`` it is.

    Raises:
        RaceLostError: where another process changed the same entities meanwhile; to be tried again from the start.
    """
    past = await repository_ingest.past(session, identities)
    await service_archive.recall(session, identities, past)
    touched = {
        identity.signal_id
        for identity in identities
        if (row := past.rows.get(identity.signal_id)) is None or row.digest != identity.digest
    }
    # A message like the stored row counts again after one that is not.
    relevant = [place for place, identity in enumerate(identities) if identity.signal_id in touched]
    if not relevant:
        return
    metrics = await repository_ingest.metrics(session, {identities[place].metric_id for place in relevant})
    times = Counter(identities[place].signal_id for place in relevant)
    await repository_ingest.load_contents(
        session, [row for name, row in past.rows.items() if times[name] > 1 or (times[name] and row.is_edited)]
    )
    late = [
        identity
        for identity in (identities[place] for place in relevant)
        if identity.signal_id not in past.rows
        and (current := past.currents.get(identity.entity_id)) is not None
        and identity.detected_at < current.detected_at
    ]
    earlier = await repository_ingest.earlier_detections(session, late) if late else {}
    folding = Folding(past, earlier, metrics, settings, datetime.now(UTC))
    async with turn:
        for number, place in enumerate(relevant):
            if number % _MESSAGES_BETWEEN_PAUSES == 0:
                await asyncio.sleep(0)
            if (detection := read_message(place)) is not None:
                folding.take(detection)
    if folding.demoted:
        await repository_ingest.demote(session, folding.demoted)
    changed: dict[UUID, list[str]] = {}
    if folding.updated:
        changed = await repository_ingest.update(session, list(folding.updated.values()), folding.compared)
    if folding.inserted:
        await repository_ingest.insert(session, folding.inserted)
    await outbox.publish(session, *folding.events(changed))
    await service_insights.attach(session, {row.entity_id for row in folding.inserted if row.is_current})


class _Correction(Struct, frozen=True):
    """A correction to be told of if the database finds a difference, with the state as it is after this message."""

    known: Known
    content: Content
    state: SignalState
    metric: MetricEntry | None
    cause: Cause


class Folding:
    """Applies the rules to one message after the other, and gathers what a batch comes to.

    `inserted`, `updated` and `demoted` (stored rows that were current) are rows to write. A stored row whose content
    was not loaded can be corrected once: whether it is different is left to the database, unlike those in `compared`.
    `earlier` tells for a detection that comes late which stored one precedes it. The previous detection is the one
    known when this one arrives: what its event told stays, also when one in between is recorded afterwards.
    """

    def __init__(
        self,
        past: Past,
        earlier: Mapping[UUID, tuple[datetime, UUID]],
        metrics: Mapping[str, MetricEntry],
        settings: ClassificationSettings,
        now: datetime,
    ) -> None:
        self.inserted: list[Known] = []
        self.updated: dict[UUID, Known] = {}
        self.compared: set[UUID] = set()
        self.demoted: list[Known] = []
        self._events: list[Event | _Correction] = []
        self._rows, self._currents = past.rows, past.currents
        self._history = {entity: [current] for entity, current in past.currents.items()}
        self._earlier = earlier
        self._metrics = metrics
        self._settings = settings
        self._now = now

    def take(self, detection: Detection) -> None:
        """Apply the rules to the next message."""
        metric = self._metrics.get(detection.message.metric_id)
        known = self._rows.get(detection.identity.signal_id)
        if known is None:
            self._add(detection, metric, content_of(detection, metric, self._settings))
        elif known.digest != detection.identity.digest:
            self._correct(known, detection, metric, content_of(detection, metric, self._settings))

    def events(self, changed: Mapping[UUID, Sequence[str]]) -> list[Event]:
        """What to publish, in the order of the messages; `changed` are the fields in which `updated` rows differ."""
        return [
            _corrected(told, changed[told.known.signal_id], self._now) if isinstance(told, _Correction) else told
            for told in self._events
            if isinstance(told, Event) or told.known.signal_id in changed
        ]

    def _add(self, detection: Detection, metric: MetricEntry | None, content: Content) -> None:
        """A detection that is not stored: the first of its entity, a newer one, or history."""
        identity, now = detection.identity, self._now
        row = Known(
            identity.signal_id,
            identity.entity_id,
            identity.detected_at,
            is_current=True,
            event_sequence=1,
            digest=identity.digest,
            signal_type=content.simplified_signal_type,
            severity=content.simplified_severity,
            magnitude_tier=content.magnitude_tier,
            content=content,
        )
        current = self._currents.get(row.entity_id)
        if current is None:
            data = SignalChanged(signal=_state(row, content))
            summary, shown = detected(content, metric), ActivityEventType.NEW_SIGNAL
            event = _event(SIGNAL_DETECTED, row, detection.cause, now, data, summary, shown)
        elif row.detected_at < current.detected_at:
            row.is_current = False
            row.previous_signal_id = _preceding(
                row, self._earlier.get(row.signal_id), self._history.get(row.entity_id, ())
            )
            data = SignalChanged(signal=_state(row, content))
            summary = recorded(content, metric, row.detected_at)
            event = _event(SIGNAL_RECORDED, row, detection.cause, now, data, summary)
        else:
            row.previous_signal_id = current.signal_id
            event = _redetected(row, content, current, metric, detection, now)
            current.is_current = False
            if current.stored_sequence:
                self.demoted.append(current)
        if row.is_current:
            self._currents[row.entity_id] = row
        self._rows[row.signal_id] = row
        self._history.setdefault(row.entity_id, []).append(row)
        self.inserted.append(row)
        self._events.append(event)

    def _correct(self, known: Known, detection: Detection, metric: MetricEntry | None, content: Content) -> None:
        """Take over what the same detection says now, but for what a user wrote."""
        changed: list[str] | None = None
        if known.content is not None:
            if known.description_edited:
                content = msgspec.structs.replace(content, description=known.content.description)
            if known.narrative_edited:
                content = msgspec.structs.replace(content, why_matters_narrative=known.content.why_matters_narrative)
            changed = differences(known.content, content)
            if not changed:
                return
            self.compared.add(known.signal_id)
        known.content = content
        known.digest = detection.identity.digest
        known.event_sequence += 1
        known.signal_type = content.simplified_signal_type
        known.severity = content.simplified_severity
        known.magnitude_tier = content.magnitude_tier
        correction = _Correction(known, content, _state(known, content), metric, detection.cause)
        self._events.append(correction if changed is None else _corrected(correction, changed, self._now))
        if known.stored_sequence:
            self.updated[known.signal_id] = known


def feed_type(
    severity: int,
    signal_type: SignalType,
    tier: MagnitudeTier | None,
    previous_severity: int,
    previous_type: SignalType,
    previous_tier: MagnitudeTier | None,
) -> ActivityEventType | None:
    """What the feed shows of a newer detection.

    A move of the severity by 5 or more decides, else the magnitude tier among marginal, elevated, severe and critical.
    Suspect data is compared with nothing.
    """
    if SignalType.SUSPECT_DATA in (signal_type, previous_type):
        return None
    worse_by = severity - previous_severity
    if abs(worse_by) < _NOTICEABLE_SEVERITY:
        if tier not in _DECIDING_TIERS or previous_tier not in _DECIDING_TIERS:
            return None
        worse_by = _DECIDING_TIERS.index(previous_tier) - _DECIDING_TIERS.index(tier)
    if worse_by == 0:
        return None
    return ActivityEventType.REGRESSION if worse_by > 0 else ActivityEventType.IMPROVEMENT


def _corrected(correction: _Correction, changed: Sequence[str], now: datetime) -> Event:
    data = SignalChanged(signal=correction.state, changed=list(changed))
    summary = corrected(correction.content, correction.metric, changed)
    return _event(SIGNAL_CORRECTED, correction.known, correction.cause, now, data, summary)


def _redetected(
    row: Known, content: Content, current: Known, metric: MetricEntry | None, detection: Detection, now: datetime
) -> Event:
    shown = feed_type(
        row.severity, row.signal_type, row.magnitude_tier, current.severity, current.signal_type, current.magnitude_tier
    )
    data = SignalRedetected(
        signal=_state(row, content),
        previous_severity=current.severity,
        previous_signal_type=current.signal_type,
        previous_magnitude_tier=current.magnitude_tier,
    )
    return _event(
        SIGNAL_REDETECTED, row, detection.cause, now, data, redetected(content, metric, current.severity, shown), shown
    )


def _preceding(row: Known, stored: tuple[datetime, UUID] | None, others: Iterable[Known]) -> UUID | None:
    """The latest detection of the entity before this one."""
    candidates = [(other.detected_at, other.signal_id) for other in others if other.detected_at < row.detected_at]
    if stored is not None:
        candidates.append(stored)
    return max(candidates)[1] if candidates else None


def _state(row: Known, content: Content) -> SignalState:
    return state_of(
        content,
        signal_id=row.signal_id,
        entity_id=row.entity_id,
        previous_signal_id=row.previous_signal_id,
        is_current=row.is_current,
        detected_at=row.detected_at,
    )


def _event(
    event_type: EventType,
    row: Known,
    cause: Cause,
    now: datetime,
    data: SignalChanged | SignalRedetected,
    summary: str,
    shown: ActivityEventType | None = None,
) -> Event:
    return Event(
        type=event_type,
        subject=row.signal_id,
        key=row.entity_id,
        data=data,
        summary=summary,
        feed_type=shown,
        sequence=row.event_sequence,
        time=now,
        cause=cause,
    )
