"""Messages that can never be processed: kept with their bytes and the reason, once, and told to operators."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared import outbox, tracing_messages
from shared.events.decoding import RejectedMessageError
from shared.events.operations import MESSAGE_REJECTED, MessageRejected, rejection_id
from shared.events.topics import COMPASS_OPERATIONS
from shared.events.vocabulary import ActivityEventType
from shared.inbox import Message
from shared.telemetry import REJECTED, Cause, logger

REPLAY_OF_HEADER: Final = "dead-letter-replay-of"
"""On a replayed message: the id of the dead letter that it was."""
REPLAY_GROUP_HEADER: Final = "dead-letter-replay-group"
"""On a replayed message: the consumer group that it is for."""

_LONGEST_DETAIL: Final = 2000

_INSERT = text(
    """
    INSERT INTO dead_letters
        (id, consumer_group, topic, partition, "offset", code, detail, key, value, headers, appended_at)
    VALUES (:id, :consumer_group, :topic, :partition, :offset, :code, :detail, :key, :value,
            CAST(:headers AS jsonb), :appended_at)
    ON CONFLICT DO NOTHING
    RETURNING id
    """
)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A message and why it can never be processed."""

    message: Message
    error: RejectedMessageError


def concerns(message: Message, consumer_group: str) -> bool:
    """Whether a group has to look at a message: at a replayed one only if it is the group that rejected it.

    All others have had the message's effect already, or a dead letter of their own.
    """
    if not message.headers:
        return True
    return all(value == consumer_group.encode() for name, value in message.headers if name == REPLAY_GROUP_HEADER)


def message_cause(message: Message) -> Cause:
    """What an effect of this message is correlated with: its header, else its place in Kafka."""
    given = next((value for name, value in message.headers if name == "correlationid" and value), b"")
    correlation = given.decode("utf-8", "replace").replace("\0", "")[:64]
    place = f"{message.topic}/{message.partition}/{message.offset}"
    return Cause(correlation or place, tracing_messages.for_effects_of(message))


async def reject(session: AsyncSession, service: str, consumer_group: str, rejections: Sequence[Rejection]) -> None:
    """Store the messages and put them, with the event that tells of it, in the outbox; in this transaction.

    Each is unique on group, topic, partition and offset. Rejecting a rejection is only logged and counted, so that a
    consumer of `compass.operations.v1` cannot feed itself.
    """
    for rejection in rejections:
        message, error = rejection.message, rejection.error
        REJECTED.labels(consumer_group, message.topic, error.code).inc()
        logger.warning(
            "message rejected",
            consumer_group=consumer_group,
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            code=error.code,
            detail=error.detail,
        )
        # What cannot be stored must not keep the reason from being stored.
        detail = error.detail.replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:_LONGEST_DETAIL]
        identity = rejection_id(consumer_group, message.topic, message.partition, message.offset)
        inserted = await session.execute(
            _INSERT,
            {
                "id": identity,
                "consumer_group": consumer_group,
                "topic": message.topic,
                "partition": message.partition,
                "offset": message.offset,
                "code": error.code,
                "detail": detail,
                "key": message.key,
                "value": message.value,
                "headers": outbox.encode_headers(storable_headers(message)),
                "appended_at": datetime.fromtimestamp(max(message.timestamp, 0) / 1000, UTC),
            },
        )
        if inserted.first() is None:
            continue
        reason = [
            ("dead-letter-group", consumer_group.encode()),
            ("dead-letter-partition", str(message.partition).encode()),
            ("dead-letter-offset", str(message.offset).encode()),
            ("dead-letter-code", error.code.encode()),
            ("dead-letter-detail", detail.encode()),
        ]
        headers = [*storable_headers(message), *reason]
        await outbox.publish_raw(
            session, [outbox.RawMessage(f"{message.topic}.dead-letter", message.key, message.value, headers)]
        )
        if message.topic != COMPASS_OPERATIONS.name:
            await outbox.publish(session, _event(service, consumer_group, message, error.code, detail))


def storable_headers(message: Message) -> list[tuple[str, bytes | None]]:
    """The message's headers with names that JSON text in PostgreSQL can hold."""
    return [(name.replace("\0", "\ufffd"), value) for name, value in message.headers]


def _event(service: str, consumer_group: str, message: Message, code: str, detail: str) -> outbox.Event:
    identity = rejection_id(consumer_group, message.topic, message.partition, message.offset)
    return outbox.Event(
        type=MESSAGE_REJECTED,
        source=f"/services/{service}",
        subject=identity,
        key=identity,
        sequence=1,
        feed_type=ActivityEventType.TECHNICAL_ERROR,
        summary=f"A message on {message.topic} could not be processed: {detail}",
        cause=message_cause(message),
        data=MessageRejected(
            consumer_group=consumer_group,
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            code=code,
            detail=detail,
            size=len(message.value or b""),
        ),
    )
