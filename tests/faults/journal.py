"""What the driver of a run was told: which messages Kafka acknowledged, what the API answered with success."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from shared.events.vocabulary import ActivityEventType


class Outcome(StrEnum):
    """How a write ended, as far as who asked for it can know."""

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Action(StrEnum):
    """What was asked for; each leaves its marker somewhere."""

    ASSIGN = "assign"
    MOVE = "move"
    COMMENT = "comment"
    INTERVENE = "intervene"
    SNOOZE = "snooze"


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a person, with the text by which its effect is recognised."""

    action: Action
    marker: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Mark:
    """What a person marked as read: some events, or all up to a position, of one type or of any."""

    user_id: UUID
    event_ids: tuple[UUID, ...]
    up_to: int
    event_type: ActivityEventType | None
    outcome: Outcome
    marked: int | None
    """How many the answer said had become read by it; None where an attempt before it went without an answer."""


@dataclass(slots=True)
class Journal:
    """All of a run."""

    acknowledged: list[tuple[str, int, int, bytes, bytes | None]] = field(default_factory=list)
    """Topic, partition, offset, key and value of each message that Kafka took."""
    bad: set[tuple[bytes, bytes | None]] = field(default_factory=set)
    """Key and value of what can never be processed."""
    writes: list[Write] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    sessions: list[UUID] = field(default_factory=list)
    """Sessions whose login was answered."""
    statuses: dict[int, int] = field(default_factory=dict)
    """How often each HTTP status was answered; 0 for no answer."""

    def count(self, status: int) -> None:
        """Note one answer."""
        self.statuses[status] = self.statuses.get(status, 0) + 1


def ended(asked: Iterable[Write | Mark]) -> dict[str, int]:
    """How these ended: how many in each way."""
    return dict(Counter(str(one.outcome) for one in asked))
