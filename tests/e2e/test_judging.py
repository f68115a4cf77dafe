"""The judge of the topics finds what must not be, and lets pass what a relay that died may leave."""

from uuid import UUID, uuid4

import msgspec
import pytest
from aiokafka import TopicPartition

from shared.events.envelope import Envelope
from tests.support.oracles import judge_events

SIGNAL = uuid4()
IDS = [uuid4() for _ in range(4)]
HERE, ELSEWHERE = TopicPartition("compass.signals.v1", 0), TopicPartition("compass.signals.v1", 1)


Read = tuple[TopicPartition, int, Envelope]


def event(
    sequence: int, offset: int, *, number: int | None = None, place: TopicPartition = HERE, of: UUID = SIGNAL
) -> Read:
    """An event as it was read: where it stood, and what it says."""
    said = {
        "specversion": "1.0",
        "id": IDS[sequence if number is None else number],
        "source": "/services/signals",
        "type": "compass.signal.corrected.v1",
        "subject": of,
        "time": "2026-07-01T00:00:00Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:quality-compass:signal.corrected.v1",
        "sequence": sequence,
        "data": {},
    }
    return place, offset, msgspec.json.decode(msgspec.json.encode(said), type=Envelope)


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ([event(1, 0), event(2, 1), event(3, 2)], None),
        # Sent again by the successor of a relay that died.
        ([event(1, 0), event(2, 1), event(1, 2), event(2, 3), event(3, 4)], None),
        ([event(2, 0, of=uuid4())], None),
        ([event(1, 0), event(3, 1), event(2, 2)], "order"),
        ([event(2, 0)], "order"),
        ([event(1, 0), event(2, 1), event(2, 10)], "doubled"),
        ([event(1, 0), event(1, 1, number=2)], "doubled"),
        ([event(1, 0), event(2, 0, place=ELSEWHERE)], "partition"),
    ],
    ids=[
        "in order",
        "sent again",
        "another's",
        "swapped",
        "lost",
        "again in peace",
        "two with one number",
        "scattered",
    ],
)
def test_what_the_judge_says(events: list[Read], complaint: str | None) -> None:
    found = list(judge_events(events, frozenset({SIGNAL}), {HERE: 10, ELSEWHERE: 10}))
    assert [each.split(":")[0] for each in found] == ([complaint] if complaint else [])
