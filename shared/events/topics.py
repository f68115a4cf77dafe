"""Every Kafka topic: the one list from which topic creation, AsyncAPI and the deployment manifests are made.

Only the topic job (``python -m deploy.topics``) creates topics. The services never do.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""The largest engine message that is processed; a larger one is dead-lettered with that reason."""

_BROKER_LIMIT_BYTES: Final = 4 * 1024 * 1024
_DEAD_LETTER_LIMIT_BYTES: Final = _BROKER_LIMIT_BYTES + 256 * 1024


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic, with everything that the topic job and the documentation need.

    ``retention`` of None keeps every message for ever. ``max_message_bytes`` is what the broker accepts: more than
    we process on the engine's topics, so that an oversized message is answered with a reason instead of an error
    that only its producer sees.
    """

    name: str
    key: str
    producer: str
    consumers: tuple[str, ...]
    retention: timedelta | None
    description: str
    partitions: int = 6
    max_message_bytes: int = _BROKER_LIMIT_BYTES

    @property
    def dead_letter(self) -> str:
        """The name of the topic that takes what could not be processed from this one."""
        return f"{self.name}.dead-letter"

    def configuration(self) -> dict[str, str]:
        """The broker's settings for this topic. No topic is compacted: the activity service needs every event."""
        retention_ms = -1 if self.retention is None else int(self.retention.total_seconds() * 1000)
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
            # The inbox tells a redelivered message from one in a re-created log by the broker's append time.
            "message.timestamp.type": "LogAppendTime",
        }


ENGINE_SIGNALS: Final = Topic(
    name="engine.signals.v1",
    key="facility id, or the facility's name where the id is missing",
    producer="upstream engine",
    consumers=("signals",),
    retention=timedelta(days=14),
    description="Findings of the upstream analytics engine, plain JSON objects without an envelope.",
)
ENGINE_INSIGHTS: Final = Topic(
    name="engine.insights.v1",
    key=ENGINE_SIGNALS.key,
    producer="upstream engine",
    consumers=("signals",),
    retention=timedelta(days=14),
    description="The engine's insights on signals that it published, plain JSON objects without an envelope.",
)
COMPASS_SIGNALS: Final = Topic(
    name="compass.signals.v1",
    key="entity id",
    producer="signals",
    consumers=("workflow", "activity"),
    retention=timedelta(days=30),
    description="Detections of signals and what became of them, and the metric registry.",
)
COMPASS_WORKFLOW: Final = Topic(
    name="compass.workflow.v1",
    key="entity id",
    producer="workflow",
    consumers=("signals", "activity"),
    retention=timedelta(days=30),
    description="Assignments, transitions, comments and interventions.",
)
COMPASS_AUTH: Final = Topic(
    name="compass.auth.v1",
    key="user id",
    producer="auth",
    consumers=("signals", "workflow", "activity"),
    retention=None,
    description="Users, sessions and signing keys. Kept, so that a service that comes later knows every user.",
)
COMPASS_OPERATIONS: Final = Topic(
    name="compass.operations.v1",
    key="subject",
    producer="any",
    consumers=("activity",),
    retention=timedelta(days=30),
    description="What operators must know: messages that were rejected.",
)

_PRIMARY: Final = (
    ENGINE_SIGNALS,
    ENGINE_INSIGHTS,
    COMPASS_SIGNALS,
    COMPASS_WORKFLOW,
    COMPASS_AUTH,
    COMPASS_OPERATIONS,
)


def _dead_letter_topic(topic: Topic) -> Topic:
    return Topic(
        name=topic.dead_letter,
        key="as received",
        producer="whoever rejected the message",
        consumers=("operators",),
        retention=timedelta(days=30),
        description=f"Messages of {topic.name} that could not be processed, with the reason in the headers.",
        max_message_bytes=_DEAD_LETTER_LIMIT_BYTES,
    )


ALL: Final = _PRIMARY + tuple(_dead_letter_topic(topic) for topic in _PRIMARY)

BY_NAME: Final = {topic.name: topic for topic in ALL}
