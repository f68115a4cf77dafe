"""What any service publishes on ``compass.operations.v1`` for those who run the system."""

from typing import Annotated, Final
from uuid import UUID, uuid5

from msgspec import Meta, Struct

from shared.events import topics
from shared.events.envelope import EventType
from shared.events.vocabulary import ActivityEventType

_REJECTION_NAMESPACE: Final = UUID("5d1b1a60-3b53-5a0e-8a6f-0f6d6a0f3c52")


class MessageRejected(Struct, frozen=True, kw_only=True):
    """A message that went to the dead-letter topic, and where it stood."""

    consumer_group: Annotated[str, Meta(description="Who rejected it.")]
    topic: Annotated[str, Meta(description="Where it stood.")]
    partition: Annotated[int, Meta(description="Where it stood.")]
    offset: Annotated[int, Meta(description="Where it stood.")]
    code: Annotated[str, Meta(description="A stable word to filter by.")]
    detail: Annotated[str, Meta(description="One sentence for the person who looks into it.")]
    size: Annotated[int, Meta(description="Bytes of the message's value.")]


# The source is the rejecting service's own, so that sequences are counted per service.
MESSAGE_REJECTED: Final = EventType(
    name="compass.message.rejected.v1",
    topic=topics.COMPASS_OPERATIONS,
    source="/services/<name>",
    subject="UUIDv5 of consumer group, topic, partition and offset",
    data=MessageRejected,
    when="A message went to the dead-letter topic.",
    feed_types=(ActivityEventType.TECHNICAL_ERROR,),
)

EVENTS: Final = (MESSAGE_REJECTED,)


def rejection_id(consumer_group: str, topic: str, partition: int, offset: int) -> UUID:
    """The subject of a rejection: the same message rejected twice by one group is one subject."""
    return uuid5(_REJECTION_NAMESPACE, f"{consumer_group}\n{topic}\n{partition}\n{offset}")
