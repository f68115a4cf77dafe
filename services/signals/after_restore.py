"""Command: after the database was restored from a backup, take in again what came since, and agree with Kafka.

    python -m services.signals.after_restore --since 2026-11-23T02:00:00Z

The service has to be stopped. What the engine published since the backup is stored again, as far as its topics reach
back, under the same ids and event numbers. Metrics are taken over as Kafka tells them. What people wrote since is lost,
and printed; other services are told the signals that are others now. Run again, it finds nothing left to do.
"""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncSession

from services.signals import repository_archive, repository_metrics, repository_recompute, repository_states
from services.signals import service_metrics as metrics
from services.signals.consumers import ENGINE_INSIGHT_TEXTS, engine_signals
from services.signals.settings import SignalsSettings
from services.signals.snapshot import signal_snapshot
from shared import outbox
from shared.events import signals as contracts
from shared.events.envelope import Envelope
from shared.events.signals import MetricChanged, SignalState
from shared.kafka import Subscription
from shared.restoring import Restoration, Told, Unknown, main


class _Seen(Struct):
    """What every event with a signal's state has."""

    signal: SignalState


class SignalsRestoration(Restoration[SignalsSettings]):
    """Signals, whose numbers stand on their rows, and the registry of metrics."""

    events = contracts.EVENTS
    states = (
        contracts.SignalChanged,
        contracts.SignalRedetected,
        contracts.InsightGenerated,
        contracts.MetricChanged,
    )

    @property
    def consumed(self) -> Sequence[Subscription]:
        """Signals first, since insights are about them."""
        return (engine_signals(self.settings), ENGINE_INSIGHT_TEXTS)

    async def numbers(self, session: AsyncSession, subjects: Collection[UUID]) -> Mapping[UUID, int]:
        """Those of stored and archived signals, and of metrics."""
        registry = {
            metrics.subject(one.metric_id): one.event_sequence for one in await repository_metrics.every(session)
        }
        return registry | await repository_states.sequences(session, subjects)

    async def begin(self, session: AsyncSession, told: Mapping[UUID, Told]) -> None:
        """The registry, by which the engine's signals are classified; and what depends on the old server's clock."""
        await repository_recompute.look_again(session)
        numbers = await self.numbers(session, [])
        for one in _about_metrics(told.values()):
            if one.state is not None and one.sequence > numbers.get(one.subject, 0):
                registered = one.state.data_as(MetricChanged)
                await metrics.take_over(session, registered, one.sequence, one.state.actorid)

    async def lost(self, session: AsyncSession, unknown: Sequence[Unknown]) -> Sequence[Envelope]:
        """Metrics are none of it."""
        return await super().lost(session, [one for one in unknown if one.event.type != contracts.METRIC_CHANGED.name])

    async def mend(self, session: AsyncSession, told: Sequence[Told]) -> int:
        """Raise the numbers on the rows, and tell of signals that are others than was told."""
        events = await self._metrics_told_wrongly(session, told)
        of_signals = {one.subject: one for one in told if not _is_about_a_metric(one)}
        stored = await repository_states.lock(session, of_signals)
        raised: dict[UUID, int] = {}
        for signal in stored:
            one = of_signals[signal.signal_id]
            if one.sequence > signal.event_sequence:
                signal.event_sequence = raised[signal.signal_id] = one.sequence
            if one.state is None or _comparable(one.state.data_as(_Seen).signal) != _comparable(signal.state()):
                events.append(signal_snapshot(signal))
        await repository_states.set_sequences(session, raised)
        await repository_archive.raise_sequences(session, {one.subject: one.sequence for one in of_signals.values()})
        await outbox.publish(session, *events)
        return len(events)

    async def _metrics_told_wrongly(self, session: AsyncSession, told: Sequence[Told]) -> list[outbox.Event]:
        registry = {metrics.subject(one.metric_id): one for one in await repository_metrics.every(session)}
        events = []
        for one in _about_metrics(told):
            if one.state is not None and (metric := registry.get(one.subject)) is not None:
                snapshot = metrics.snapshot(metric)
                if msgspec.structs.replace(one.state.data_as(MetricChanged), changed=[]) != snapshot.data:
                    events.append(snapshot)
        return events


def _is_about_a_metric(told: Told) -> bool:
    return told.state is not None and told.state.type in (
        contracts.METRIC_CHANGED.name,
        contracts.METRIC_SNAPSHOT.name,
    )


def _about_metrics(told: Collection[Told]) -> list[Told]:
    return [one for one in told if _is_about_a_metric(one)]


def _comparable(state: SignalState) -> bytes:
    """Without the place among the entity's detections: of it, the event of a newer one tells."""
    return msgspec.json.encode(msgspec.structs.replace(state, is_current=True, previous_signal_id=None))


if __name__ == "__main__":
    raise SystemExit(main("signals", SignalsSettings, SignalsRestoration))
