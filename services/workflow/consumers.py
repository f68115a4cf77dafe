"""What this service hears of signals and users, from Kafka."""

from collections.abc import Sequence
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository_copies, repository_interventions, service_detections
from services.workflow.service_detections import Sighting
from services.workflow.settings import DueSettings, WorkflowSettings
from shared.dead_letters import Rejection
from shared.events import auth, envelope, signals
from shared.events.auth import UserState
from shared.events.decoding import RejectedMessageError
from shared.events.signals import MetricChanged
from shared.events.topics import COMPASS_AUTH, COMPASS_SIGNALS
from shared.events.vocabulary import ActivityEventType
from shared.inbox import Message
from shared.kafka import Subscription

_SIGNAL_EVENTS: Final = {
    event.name: event
    for event in (
        signals.SIGNAL_DETECTED,
        signals.SIGNAL_REDETECTED,
        signals.SIGNAL_RECORDED,
        signals.SIGNAL_CORRECTED,
        signals.SIGNAL_SNAPSHOT,
    )
}
_METRIC_EVENTS: Final = {event.name: event for event in (signals.METRIC_CHANGED, signals.METRIC_SNAPSHOT)}
_HEARD: Final = _SIGNAL_EVENTS | _METRIC_EVENTS
_USER_EVENTS: Final = {
    event.name: event for event in (auth.USER_CREATED, auth.USER_UPDATED, auth.USER_DEACTIVATED, auth.USER_SNAPSHOT)
}


async def hear_of_signals(session: AsyncSession, messages: Sequence[Message], due: DueSettings) -> list[Rejection]:
    """Keep the copies of signals and metrics, let assignments follow to newer detections, and rules assign new ones."""
    sightings: list[Sighting] = []
    metrics: dict[str, tuple[int, MetricChanged]] = {}
    rejections = []
    for message in messages:
        try:
            heard = _read_signal(message)
        except RejectedMessageError as error:
            rejections.append(Rejection(message, error))
            continue
        if isinstance(heard, Sighting):
            sightings.append(heard)
        elif heard is not None and (heard[1].metric_id not in metrics or metrics[heard[1].metric_id][0] <= heard[0]):
            metrics[heard[1].metric_id] = heard
    if metrics:
        await repository_interventions.store_metrics(session, metrics.values())
    await service_detections.observe(session, sightings, due)
    return rejections


async def hear_of_users(session: AsyncSession, messages: Sequence[Message]) -> list[Rejection]:
    """Keep the copies of users."""
    latest: dict[UUID, tuple[int, UserState]] = {}
    rejections = []
    for message in messages:
        try:
            heard = _read_user(message)
        except RejectedMessageError as error:
            rejections.append(Rejection(message, error))
            continue
        if heard is not None and (heard[1].user_id not in latest or latest[heard[1].user_id][0] <= heard[0]):
            latest[heard[1].user_id] = heard
    if latest:
        await repository_copies.store_users(session, latest)
    return rejections


def _read_signal(message: Message) -> Sighting | tuple[int, MetricChanged] | None:
    event = envelope.decode(message.value)
    contract = envelope.choose(event.type, _HEARD)
    if contract is None:
        return None
    if contract.name in _METRIC_EVENTS:
        return event.sequence, event.data_as(MetricChanged)
    if contract is signals.SIGNAL_REDETECTED:
        signal = event.data_as(signals.SignalRedetected).signal
    else:
        signal = event.data_as(signals.SignalChanged).signal
    if contract in (signals.SIGNAL_DETECTED, signals.SIGNAL_REDETECTED):
        was_current = True
    else:
        was_current = signal.is_current and contract is not signals.SIGNAL_RECORDED
    return Sighting(
        signal,
        event.sequence,
        was_current,
        is_snapshot=contract is signals.SIGNAL_SNAPSHOT,
        is_regression=event.feedtype == ActivityEventType.REGRESSION,
    )


def _read_user(message: Message) -> tuple[int, UserState] | None:
    event = envelope.decode(message.value)
    if envelope.choose(event.type, _USER_EVENTS) is None:
        return None
    return event.sequence, event.data_as(auth.UserChanged).user


def subscriptions(settings: WorkflowSettings) -> tuple[Subscription, ...]:
    """What this service hears."""
    return (
        Subscription(
            COMPASS_SIGNALS, "workflow.signals", partial(hear_of_signals, due=settings.due), gather_seconds=0.05
        ),
        Subscription(COMPASS_AUTH, "workflow.users", hear_of_users),
    )
