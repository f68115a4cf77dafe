"""What the driver of a run was told: which messages Kafka acknowledged, which writes the API answered with success."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID


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


@dataclass(slots=True)
class Journal:
    """All of a run."""

    acknowledged: list[tuple[str, int, int, bytes, bytes | None]] = field(default_factory=list)
    """Topic, partition, offset, key and value of each message that Kafka took."""
    bad: set[tuple[bytes, bytes | None]] = field(default_factory=set)
    """Key and value of what can never be processed."""
    writes: list[Write] = field(default_factory=list)
    sessions: list[UUID] = field(default_factory=list)
    """Sessions whose login was answered."""
    statuses: dict[int, int] = field(default_factory=dict)
    """How often each HTTP status was answered; 0 for no answer."""

    def outcomes(self) -> Counter[Outcome]:
        """How the writes ended."""
        return Counter(write.outcome for write in self.writes)

    def count(self, status: int) -> None:
        """Note one answer."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
