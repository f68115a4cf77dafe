"""The engine: what it published stands in Kafka, is stored once with its last values, and had its effects once."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Final
from uuid import UUID

from shared.events.operations import rejection_id
from tests.faults.journal import Journal
from tests.faults.model import Expected
from tests.support.observation import Observation

_TOLD: Final = "compass.{}.v1"


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


def stored_is_published(seen: Observation, _: Journal, expected: Expected) -> Iterator[str]:
    """Every detection on the topic is one row with the values that came last; there are no other rows."""
    stored = Counter(row["id"] for row in seen.table("signals"))
    rows = {row["id"]: row for row in seen.table("signals")}
    for signal_id, signal in expected.signals.items():
        if stored[signal_id] != 1:
            yield f"{signal_id} is stored {stored[signal_id]} times"
            continue
        row = rows[signal_id]
        if row["description"] != signal.message["description"]:
            yield f"{signal_id} says {row['description']!r} instead of {signal.message['description']!r}"
        if row["metric_value"] != Decimal(str(signal.message["metric_value"])):
            yield f"{signal_id} has the value {row['metric_value']} instead of {signal.message['metric_value']}"
    for signal_id in stored.keys() - expected.signals.keys():
        yield f"{signal_id} was never published"


def latest_detection_is_current(seen: Observation, _: Journal, expected: Expected) -> Iterator[str]:
    """Each entity has one current signal, its latest detection."""
    current: dict[UUID, list[UUID]] = defaultdict(list)
    for row in seen.table("signals"):
        if row["is_current"]:
            current[row["entity_id"]].append(row["id"])
    for entity, signal_id in expected.current.items():
        if current[entity] != [signal_id]:
            yield f"entity {entity} has {current[entity]} instead of {signal_id}"


def effects_once(seen: Observation, _: Journal, expected: Expected) -> Iterator[str]:
    """The events about each signal are those that its messages make, no more and no fewer, in their order."""
    told: dict[UUID, list[str]] = defaultdict(list)
    of_ingest = {_TOLD.format(f"signal.{name}") for name in ("detected", "redetected", "recorded", "corrected")}
    for row in seen.table("audit"):
        if row["type"] in of_ingest:
            told[row["subject"]].append(row["type"])
    for signal_id, signal in expected.signals.items():
        wanted = [_TOLD.format(event) for event in signal.events]
        if told[signal_id] != wanted:
            yield f"{signal_id} had {_short(told[signal_id])} instead of {_short(wanted)}"


def _short(events: list[str]) -> str:
    return " ".join(event.split(".")[2] for event in events) or "nothing"


def insights_once(seen: Observation, _: Journal, expected: Expected) -> Iterator[str]:
    """Each insight is stored once, stands at a signal if its entity has one, and was then told of once."""
    stored = Counter(row["id"] for row in seen.table("insights"))
    places = {row["id"]: row["signal_id"] for row in seen.table("insights")}
    told = Counter(
        row["envelope"]["data"]["insight_id"]
        for row in seen.table("audit")
        if row["type"] == _TOLD.format("insight.generated")
    )
    for insight, entity in expected.insights.items():
        has_signal = entity in expected.current
        if stored[insight] != 1:
            yield f"{insight} is stored {stored[insight]} times"
        elif (places[insight] is not None) != has_signal:
            yield f"{insight} is at {places[insight]}, though its entity has {'a' if has_signal else 'no'} signal"
        if told[str(insight)] != has_signal:
            yield f"{insight} was told of {told[str(insight)]} times"
    for insight in stored.keys() - expected.insights.keys():
        yield f"{insight} was never published"


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


ENGINE_ORACLES: Final = (
    acknowledged_messages_are_there,
    stored_is_published,
    latest_detection_is_current,
    effects_once,
    insights_once,
    bad_messages_once,
)
