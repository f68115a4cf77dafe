"""Kafka in: every event of every service, and the names of users."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from services.activity import repository_users, service, service_users
from services.activity.repository_audit import AuditRow
from shared.access import access_subscription
from shared.dead_letters import Rejection
from shared.events.decoding import RejectedMessageError
from shared.events.topics import COMPASS_AUTH, COMPASS_OPERATIONS, COMPASS_SIGNALS, COMPASS_WORKFLOW
from shared.inbox import Message
from shared.kafka import Subscription


async def record(session: AsyncSession, messages: Sequence[Message]) -> list[Rejection]:
    """Audit events, and show those that have a feed type."""
    rows: list[AuditRow] = []
    rejections: list[Rejection] = []
    for message in messages:
        try:
            rows.append(service.read(message))
        except RejectedMessageError as error:
            rejections.append(Rejection(message, error))
    await service.record(session, rows)
    return rejections


async def learn_names(session: AsyncSession, messages: Sequence[Message]) -> list[Rejection]:
    """Keep the names of users, so that the feed can say who did something."""
    names, rejections = [], []
    for message in messages:
        try:
            name = service_users.read(message)
        except RejectedMessageError as error:
            rejections.append(Rejection(message, error))
        else:
            names += [name] if name is not None else []
    await repository_users.add_names(session, names)
    return rejections


_AUDITED: Final = (
    Subscription(COMPASS_SIGNALS, "activity.signals", record),
    Subscription(COMPASS_WORKFLOW, "activity.workflow", record),
    Subscription(COMPASS_AUTH, "activity.auth", record),
    Subscription(COMPASS_OPERATIONS, "activity.operations", record),
)
AUDITED_TOPICS: Final = tuple(subscription.topic.name for subscription in _AUDITED)
"""What the audit log is made from."""

SUBSCRIPTIONS: Final = (
    *_AUDITED,
    Subscription(COMPASS_AUTH, "activity.users", learn_names),
    access_subscription("activity"),
)
