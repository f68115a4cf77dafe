"""Events: each once in the audit log, numbered without gaps, in order, shown where it should be; bad messages too."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final
from uuid import UUID

from shared.events import envelope
from shared.events.envelope import Envelope
from shared.events.operations import rejection_id
from shared.events.vocabulary import ActivityEventType
from tests.faults.journal import Journal
from tests.faults.model import Expected
from tests.faults.observation import EVENT_TOPICS, Observation, Record

Identity = tuple[str, UUID, int]

_FEED_TYPES: Final = frozenset(ActivityEventType)


def events(records: Iterable[Record]) -> Iterator[tuple[Record, Envelope]]:
    """What a topic's records say."""
    for record in records:
        yield record, envelope.decode(record.value)


def identity(event: Envelope) -> Identity:
    """What makes two deliveries the same event."""
    return event.source, event.subject, event.sequence


def told(seen: Observation) -> dict[Identity, UUID]:
    """Every event on the topics, however often it was delivered, with its id."""
    return {
        identity(event): event.id
        for _, event in events(seen.records(*EVENT_TOPICS))
        if not event.type.endswith(".snapshot.v1")
    }


def acknowledged_messages_are_there(seen: Observation, journal: Journal, _: Expected) -> Iterator[str]:
    """What Kafka took stands where it said, also after the broker was killed."""
    present = {
        (record.topic, record.partition, record.offset): (record.key, record.value)
        for records in seen.topics.values()
        for record in records
    }
    for topic, partition, offset, key, value in journal.acknowledged:
        if present.get((topic, partition, offset)) != (key, value):
            yield f"{topic}/{partition}/{offset} is not what was acknowledged there"


def same_number_same_event(seen: Observation, _: Journal, __: Expected) -> Iterator[str]:
    """A number of a subject is given to one event; delivered again, it is the same one."""
    ids: dict[Identity, UUID] = {}
    for _record, event in events(seen.records(*EVENT_TOPICS)):
        if ids.setdefault(identity(event), event.id) != event.id:
            yield f"{event.type} {identity(event)} is two events"


def order_per_subject(seen: Observation, _: Journal, __: Expected) -> Iterator[str]:
    """On its topic a subject's events come for the first time in the order of their numbers, in one partition."""
    reached: dict[tuple[str, UUID], int] = defaultdict(int)
    partitions: dict[tuple[str, UUID], int] = {}
    for record, event in events(seen.records(*EVENT_TOPICS)):
        subject = (event.source, event.subject)
        if partitions.setdefault(subject, record.partition) != record.partition:
            yield f"events of {subject} are in more than one partition"
        if event.sequence > reached[subject] + 1:
            yield f"{event.type} {identity(event)} comes before number {reached[subject] + 1}"
        reached[subject] = max(reached[subject], event.sequence)


def told_once_in_peace(seen: Observation, journal: Journal, _: Expected) -> Iterator[str]:
    """While nothing is interrupted nothing is delivered twice: one relay of each service is at work."""
    deliveries = Counter(
        identity(event)
        for record, event in events(seen.records(*EVENT_TOPICS))
        if record.offset >= journal.calm_offsets.get((record.topic, record.partition), 0)
    )
    for event, times in deliveries.items():
        if times > 1:
            yield f"{event} was delivered {times} times"


def every_event_once_in_the_audit_log(seen: Observation, _: Journal, __: Expected) -> Iterator[str]:
    """What is on the topics is what is in the log."""
    published = told(seen)
    audited = Counter((row["source"], row["subject"], row["sequence"]) for row in seen.table("audit"))
    ids = {(row["source"], row["subject"], row["sequence"]): row["event_id"] for row in seen.table("audit")}
    for event, event_id in published.items():
        if audited[event] != 1:
            yield f"{event} is there {audited[event]} times"
        elif ids[event] != event_id:
            yield f"{event} is there with another id"
    for event in audited.keys() - published.keys():
        yield f"{event} was never published"


def sequences_without_gaps(seen: Observation, _: Journal, __: Expected) -> Iterator[str]:
    """Each subject's numbers are 1, 2, 3 in the order in which they were recorded."""
    numbers: dict[tuple[str, UUID], list[int]] = defaultdict(list)
    for row in seen.table("audit"):
        numbers[row["source"], row["subject"]].append(row["sequence"])
    for subject, found in numbers.items():
        if found != list(range(1, len(found) + 1)):
            yield f"{subject} has {found[:20]}"
    for gap in seen.table("gaps"):
        yield f"a gap is noted: {gap}"


def positions_are_dense(seen: Observation, _: Journal, __: Expected) -> Iterator[str]:
    """The log's and the feed's positions are 1 to N."""
    for table in ("audit", "feed"):
        positions = [row["position"] for row in seen.table(table)]
        if positions != list(range(1, len(positions) + 1)):
            broken = next((pair for pair in pairwise([0, *positions]) if pair[1] != pair[0] + 1), None)
            yield f"{table}: {broken}"


def feed_is_what_the_audit_log_shows(seen: Observation, _: Journal, __: Expected) -> Iterator[str]:
    """Every event with a feed type is shown once under it, and nothing else is."""
    due = {
        row["event_id"]: row["feed_type"]
        for row in seen.table("audit")
        if row["feed_type"] in _FEED_TYPES and not row["is_snapshot"]
    }
    shown = Counter(row["id"] for row in seen.table("feed"))
    types = {row["id"]: row["event_type"] for row in seen.table("feed")}
    for event_id, feed_type in due.items():
        if shown[event_id] != 1 or types[event_id] != feed_type:
            yield f"{feed_type} {event_id} is shown {shown[event_id]} times as {types.get(event_id)}"
    for event_id in shown.keys() - due.keys():
        yield f"{event_id} is shown and should not be"


def chain_verifies(seen: Observation, _: Journal, __: Expected) -> Iterator[str]:
    """The command that verifies the log is content."""
    if seen.verified is not None:
        yield seen.verified


def outboxes_are_empty(seen: Observation, _: Journal, __: Expected) -> Iterator[str]:
    """Nothing waits to be told."""
    for service, rows in Counter(row["service"] for row in seen.table("outboxes")).items():
        yield f"{service} has {rows} rows"


def bad_messages_once(seen: Observation, _: Journal, expected: Expected) -> Iterator[str]:
    """Each bad message is one dead letter with its bytes and one event; no good one is.

    On the dead-letter topic it may stand more than once, since a relay that is interrupted sends again; then each time
    the same.
    """
    wanted = {(record.topic, record.partition, record.offset): record for record in expected.bad}
    rows = seen.table("dead_letters")
    stored = Counter((row["topic"], row["partition"], row["offset"]) for row in rows)
    contents = {(row["topic"], row["partition"], row["offset"]): (row["key"], row["value"]) for row in rows}
    groups = {(row["topic"], row["partition"], row["offset"]): row["consumer_group"] for row in rows}
    subjects = Counter(row["subject"] for row in seen.table("audit") if row["type"] == "compass.message.rejected.v1")
    for place in stored.keys() - wanted.keys():
        yield f"{place} is a good message and was rejected by {groups[place]}"
    letters: dict[tuple[str, int, int], set[tuple[bytes | None, bytes | None]]] = defaultdict(set)
    for record in seen.records(*(name for name in seen.topics if name.endswith(".dead-letter"))):
        headers = dict(record.headers)
        numbers = (int(headers[name] or b"-1") for name in ("dead-letter-partition", "dead-letter-offset"))
        letters[record.topic.removesuffix(".dead-letter"), *numbers].add((record.key, record.value))  # type: ignore[index]
    for place, record in wanted.items():
        if stored[place] != 1:
            yield f"{place} is stored {stored[place]} times"
            continue
        if contents[place] != (record.key, record.value):
            yield f"{place} is stored with other bytes"
        if letters[place] != {(record.key, record.value)}:
            yield f"{place} is on the dead-letter topic as {letters[place]}"
        if subjects[rejection_id(groups[place], *place)] != 1:
            yield f"{place} was told of {subjects[rejection_id(groups[place], *place)]} times"


EVENT_ORACLES: Final[Sequence[Callable[[Observation, Journal, Expected], Iterable[str]]]] = (
    acknowledged_messages_are_there,
    same_number_same_event,
    order_per_subject,
    told_once_in_peace,
    every_event_once_in_the_audit_log,
    sequences_without_gaps,
    positions_are_dense,
    feed_is_what_the_audit_log_shows,
    chain_verifies,
    outboxes_are_empty,
    bad_messages_once,
)
