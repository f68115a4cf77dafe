"""Kafka in: the engine's signals, each message decoded by itself, and what other services decide about them."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.signals import repository_workflow, service_insights
from services.signals.repository_workflow import UserName, WorkflowState
from services.signals.service_ingest import ingest
from services.signals.service_validation import Detection, Identity, identify, read
from services.signals.settings import SignalsSettings
from shared.dead_letters import Rejection, message_cause
from shared.events import auth, envelope, workflow
from shared.events.decoding import RejectedMessageError
from shared.events.topics import COMPASS_AUTH, COMPASS_WORKFLOW, ENGINE_INSIGHTS, ENGINE_SIGNALS
from shared.inbox import Message
from shared.kafka import Subscription

# Identifying so many takes half a millisecond, in which requests and the database's answers wait.
_MESSAGES_BETWEEN_PAUSES: Final = 50

_ASSIGNMENT_EVENTS: Final = {
    event.name: event
    for event in (
        workflow.SIGNAL_ASSIGNED,
        workflow.ASSIGNMENT_REMINDED,
        workflow.ASSIGNMENT_ESCALATED,
        workflow.SIGNAL_SNOOZED,
        workflow.SIGNAL_WOKEN,
        workflow.ASSIGNMENT_SNAPSHOT,
    )
}
_WORKFLOW_EVENTS: Final = _ASSIGNMENT_EVENTS | {workflow.STATUS_CHANGED.name: workflow.STATUS_CHANGED}
_USER_EVENTS: Final = {
    event.name: event for event in (auth.USER_CREATED, auth.USER_UPDATED, auth.USER_DEACTIVATED, auth.USER_SNAPSHOT)
}

State = TypeVar("State", WorkflowState, UserName)


def engine_signals(settings: SignalsSettings) -> Subscription:
    """Stores and classifies what the engine publishes."""
    rules, turn = settings.classification, asyncio.Lock()

    async def handle(session: AsyncSession, messages: Sequence[Message]) -> Sequence[Rejection]:
        identified: list[tuple[Identity, Message]] = []
        rejections: list[Rejection] = []
        now = datetime.now(UTC)
        for number, message in enumerate(messages, 1):
            if number % _MESSAGES_BETWEEN_PAUSES == 0:
                await asyncio.sleep(0)
            try:
                identified.append((identify(message.value, now), message))
            except RejectedMessageError as error:
                rejections.append(Rejection(message, error))

        def read_message(place: int) -> Detection | None:
            identity, message = identified[place]
            try:
                return read(message.value, identity, message_cause(message), rules)
            except RejectedMessageError as error:
                rejections.append(Rejection(message, error))
                return None

        await ingest(session, [identity for identity, _ in identified], read_message, rules, turn)
        return rejections

    # One by one, each signal would be a transaction, here and with everyone who hears of it.
    return Subscription(ENGINE_SIGNALS, "signals.ingest", handle, members=settings.ingest_members, gather_seconds=0.025)


async def _store_insights(session: AsyncSession, messages: Sequence[Message]) -> Sequence[Rejection]:
    insights = []
    rejections: list[Rejection] = []
    for message in messages:
        try:
            insights.append((service_insights.read(message.value), message_cause(message)))
        except RejectedMessageError as error:
            rejections.append(Rejection(message, error))
    await service_insights.store(session, insights)
    return rejections


async def _store_workflow_states(session: AsyncSession, messages: Sequence[Message]) -> Sequence[Rejection]:
    states, rejections = _latest(messages, _workflow_state, lambda state: state.signal_id)
    await repository_workflow.apply(session, states)
    return rejections


async def _store_users(session: AsyncSession, messages: Sequence[Message]) -> Sequence[Rejection]:
    users, rejections = _latest(messages, _user_name, lambda user: user.user_id)
    await repository_workflow.store_users(session, users)
    return rejections


ENGINE_INSIGHT_TEXTS: Final = Subscription(ENGINE_INSIGHTS, "signals.insights", _store_insights)
WORKFLOW_STATES: Final = Subscription(COMPASS_WORKFLOW, "signals.workflow", _store_workflow_states)
USERS: Final = Subscription(COMPASS_AUTH, "signals.users", _store_users)


def subscriptions(settings: SignalsSettings) -> list[Subscription]:
    """All that this service hears, but for keys and revocations."""
    return [engine_signals(settings), ENGINE_INSIGHT_TEXTS, WORKFLOW_STATES, USERS]


def _latest(
    messages: Sequence[Message], read_state: Callable[[Message], State | None], key: Callable[[State], UUID]
) -> tuple[list[State], list[Rejection]]:
    """The state with the highest sequence of each subject; of equal ones the last, since a snapshot repeats one."""
    latest: dict[UUID, State] = {}
    rejections: list[Rejection] = []
    for message in messages:
        try:
            state = read_state(message)
        except RejectedMessageError as error:
            rejections.append(Rejection(message, error))
            continue
        if state is None:
            continue
        seen = latest.get(key(state))
        if seen is None or seen.sequence <= state.sequence:
            latest[key(state)] = state if seen is None else state.after(seen)
    return list(latest.values()), rejections


def _workflow_state(message: Message) -> WorkflowState | None:
    event = envelope.decode(message.value)
    if envelope.choose(event.type, _WORKFLOW_EVENTS) is None:
        return None
    superseded = None
    if event.type in _ASSIGNMENT_EVENTS:
        changed = event.data_as(workflow.AssignmentChanged)
        assignment, superseded = changed.assignment, changed.superseded_signal_id
    else:
        assignment = event.data_as(workflow.StatusChanged).assignment
    return WorkflowState(
        signal_id=event.subject,
        sequence=event.sequence,
        status=assignment.status,
        assignment_id=assignment.assignment_id,
        assignee_id=assignment.assignee.user_id if assignment.assignee else None,
        closed_at=assignment.closed_at,
        superseded_signal_id=superseded,
    )


def _user_name(message: Message) -> UserName | None:
    event = envelope.decode(message.value)
    if envelope.choose(event.type, _USER_EVENTS) is None:
        return None
    user = event.data_as(auth.UserChanged).user
    return UserName(user.user_id, event.sequence, user.name, user.is_active)
