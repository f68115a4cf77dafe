"""Events: each once in the audit log, numbered without gaps, in order, shown where it should be."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final
from uuid import UUID

from shared.events import envelope
from shared.events.envelope import Envelope
from shared.events.vocabulary import ActivityEventType
from tests.support.observation import EVENT_TOPICS, Observation, Record

Identity = tuple[str, UUID, int]

_FEED_TYPES: Final = frozenset(ActivityEventType)


def events(records: Iterable[Record]) -> Iterator[tuple[Record, Envelope]]:
    """What a topic's records tell. Snapshots repeat what was told, under its number."""
    for record in records:
        event = envelope.decode(record.value)
        if not event.type.endswith(".snapshot.v1"):
            yield record, event


def identity(event: Envelope) -> Identity:
    """What makes two deliveries the same event."""
    return event.source, event.subject, event.sequence


def told(seen: Observation) -> dict[Identity, UUID]:
    """Every event on the topics, however often it was delivered, with its id."""
    return {identity(event): event.id for _, event in events(seen.records(*EVENT_TOPICS))}


def same_number_same_event(seen: Observation) -> Iterator[str]:
    """A number of a subject is given to one event; delivered again, it is the same one."""
    ids: dict[Identity, UUID] = {}
    for _record, event in events(seen.records(*EVENT_TOPICS)):
        if ids.setdefault(identity(event), event.id) != event.id:
            yield f"{event.type} {identity(event)} is two events"


def order_per_subject(seen: Observation) -> Iterator[str]:
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


def told_once_in_peace(seen: Observation) -> Iterator[str]:
    """While nothing is interrupted nothing is delivered again: one relay of each service is at work."""
    delivered: set[Identity] = set()
    for record, event in events(seen.records(*EVENT_TOPICS)):
        is_peace = record.offset >= seen.calm.get((record.topic, record.partition), 0)
        if is_peace and identity(event) in delivered:
            yield f"{identity(event)} was delivered again, though nothing was interrupted"
        delivered.add(identity(event))


def every_event_once_in_the_audit_log(seen: Observation) -> Iterator[str]:
    """What is on the topics is what is in the log."""
    published = told(seen)
    rows = [row for row in seen.table("audit") if not row["is_snapshot"]]
    audited = Counter((row["source"], row["subject"], row["sequence"]) for row in rows)
    ids = {(row["source"], row["subject"], row["sequence"]): row["event_id"] for row in rows}
    for event, event_id in published.items():
        if audited[event] != 1:
            yield f"{event} is there {audited[event]} times"
        elif ids[event] != event_id:
            yield f"{event} is there with another id"
    for event in audited.keys() - published.keys():
        yield f"{event} was never published"


def events_are_recorded_once(seen: Observation) -> Iterator[str]:
    """No event has two rows in the log."""
    for event_id, times in Counter(row["event_id"] for row in seen.table("audit")).items():
        if times > 1:
            yield f"{event_id} is recorded {times} times"


def last_events_are_recorded(seen: Observation) -> Iterator[str]:
    """The number on a signal's row is that of the last event of it in the log."""
    recorded = Counter[UUID]()
    for row in seen.table("audit"):
        if row["source"] == "/services/signals" and not row["is_snapshot"]:
            recorded[row["subject"]] = max(recorded[row["subject"]], row["sequence"])
    for row in seen.table("signals"):
        if row["event_sequence"] != recorded[row["id"]]:
            yield f"{row['id']} is at {row['event_sequence']}, the last that is recorded is {recorded[row['id']]}"


def sequences_without_gaps(seen: Observation) -> Iterator[str]:
    """Each subject's numbers are 1, 2, 3 in the order in which they were recorded."""
    numbers: dict[tuple[str, UUID], list[int]] = defaultdict(list)
    for row in seen.table("audit"):
        if not row["is_snapshot"]:
            numbers[row["source"], row["subject"]].append(row["sequence"])
    for subject, found in numbers.items():
        if found != list(range(1, len(found) + 1)):
            yield f"{subject} has {found[:20]}"
    for gap in seen.table("gaps"):
        yield f"a gap is noted: {gap}"


def positions_are_dense(seen: Observation) -> Iterator[str]:
    """The log's and the feed's positions are 1 to N."""
    for table in ("audit", "feed"):
        positions = [row["position"] for row in seen.table(table)]
        if positions != list(range(1, len(positions) + 1)):
            broken = next((pair for pair in pairwise([0, *positions]) if pair[1] != pair[0] + 1), None)
            yield f"{table}: {broken}"


def feed_is_what_the_audit_log_shows(seen: Observation) -> Iterator[str]:
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


def chain_verifies(seen: Observation) -> Iterator[str]:
    """The command that verifies the log is content."""
    if seen.verified is not None:
        yield seen.verified


def outboxes_are_empty(seen: Observation) -> Iterator[str]:
    """Nothing waits to be told."""
    for service, rows in Counter(row["service"] for row in seen.table("outboxes")).items():
        yield f"{service} has {rows} rows"


IN_TOPICS: Final = (same_number_same_event, order_per_subject, told_once_in_peace)
"""What the topics alone say."""

IN_TABLES: Final = (
    outboxes_are_empty,
    sequences_without_gaps,
    events_are_recorded_once,
    last_events_are_recorded,
    feed_is_what_the_audit_log_shows,
)
"""What the tables alone say, also where they were looked at for some signals only."""

OF_EVERYTHING: Final = (every_event_once_in_the_audit_log, positions_are_dense, chain_verifies)
"""What only topics and tables together say, or all rows."""
