"""What must be stored of a log of engine messages: the rules of the specification once more, one message at a time.

Written for being plainly right, not fast: each entity's messages are folded in the order of its partition.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import msgspec

from shared.events.engine import signal_id
from tests.faults.engine import entity_of
from tests.support.observation import Record


@dataclass(slots=True)
class ExpectedSignal:
    """One detection as it must be stored, and the events about it, in order."""

    entity_id: UUID
    detected_at: datetime
    message: dict[str, Any]
    events: list[str]


@dataclass(slots=True)
class Expected:
    """All that a log comes to."""

    signals: dict[UUID, ExpectedSignal] = field(default_factory=dict)
    current: dict[UUID, UUID] = field(default_factory=dict)
    """The current detection of each entity."""
    bad: list[Record] = field(default_factory=list)
    insights: dict[UUID, UUID] = field(default_factory=dict)
    """The entity of each insight."""


def expect(signals: Iterable[Record], insights: Iterable[Record], bad: set[tuple[bytes, bytes | None]]) -> Expected:
    """Fold the engine's topics; `bad` says by key and value which messages can never be processed."""
    expected = Expected()
    latest: dict[UUID, datetime] = {}
    for record in signals:
        if (record.key, record.value) in bad:
            expected.bad.append(record)
        else:
            _take(expected, latest, msgspec.json.decode(record.value or b""))
    for record in insights:
        if (record.key, record.value) in bad:
            expected.bad.append(record)
            continue
        message = msgspec.json.decode(record.value or b"")
        entity = entity_of(message)
        name = msgspec.json.encode((message["title"], message["text"], message["confidence"])).decode()
        expected.insights[uuid5(entity, name)] = entity
    return expected


def _take(expected: Expected, latest: dict[UUID, datetime], message: dict[str, Any]) -> None:
    entity = entity_of(message)
    detected_at = datetime.fromisoformat(message["detected_at"])
    identity = signal_id(entity, detected_at)
    known = expected.signals.get(identity)
    if known is not None:
        if known.message != message:
            known.message = message
            known.events.append("signal.corrected")
        return
    if entity not in latest:
        event = "signal.detected"
    elif detected_at > latest[entity]:
        event = "signal.redetected"
    else:
        event = "signal.recorded"
    if event != "signal.recorded":
        latest[entity] = detected_at
        expected.current[entity] = identity
    expected.signals[identity] = ExpectedSignal(entity, detected_at, message, [event])
