"""Events as they come to the activity service."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from shared.events.topics import COMPASS_OPERATIONS, COMPASS_SIGNALS, COMPASS_WORKFLOW, Topic
from shared.inbox import Message
from tests.support.factories import message

EXAMPLES: Final = Path(__file__).parents[1] / "contracts" / "examples"
START: Final = datetime(2026, 7, 1, 9, tzinfo=UTC)

GROUPS: Final = {
    COMPASS_SIGNALS.name: "activity.signals",
    COMPASS_WORKFLOW.name: "activity.workflow",
    COMPASS_OPERATIONS.name: "activity.operations",
    "compass.auth.v1": "activity.auth",
}


def event(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A new signal, unless changed: each on a subject of its own; ``number`` seconds after the start."""
    subject = str(changes.pop("subject", None) or uuid4())
    return {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "/services/signals",
        "type": "compass.signal.detected.v1",
        "subject": subject,
        "time": (START + timedelta(seconds=number)).isoformat(),
        "datacontenttype": "application/json",
        "dataschema": "urn:quality-compass:signal.detected.v1",
        "sequence": 1,
        "data": {"number": number},
        "feedtype": "new_signal",
        "summary": f"Event {number}.",
    } | {name: str(value) if isinstance(value, UUID) else value for name, value in changes.items()}


def without(attribute: str, value: dict[str, Any]) -> dict[str, Any]:
    """The event less one attribute."""
    return {name: part for name, part in value.items() if name != attribute}


def messages(*events: dict[str, Any], topic: Topic = COMPASS_SIGNALS, partition: int = 0) -> list[Message]:
    """The events as messages of one topic, in this order."""
    return [message(topic, value, partition=partition) for value in events]


def example(name: str) -> dict[str, Any]:
    """The tested example of an event."""
    value: dict[str, Any] = json.loads((EXAMPLES / f"{name}.json").read_bytes())
    return value
