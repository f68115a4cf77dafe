"""Messages and engine signals for tests: small, valid, and each field open to change."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from shared.events.topics import Topic
from shared.inbox import Message

_next_offset: dict[tuple[str, int], int] = {}


def message(
    topic: Topic,
    value: bytes | dict[str, Any] | None,
    *,
    key: bytes | None = b"key",
    headers: Sequence[tuple[str, bytes | None]] = (),
    partition: int = 0,
    offset: int | None = None,
    timestamp: int | None = None,
) -> Message:
    """A message as a consumer receives it; offsets count up per partition unless one is given."""
    if isinstance(value, dict):
        value = json.dumps(value).encode()
    place = (topic.name, partition)
    if offset is None:
        offset = _next_offset.get(place, 0)
        _next_offset[place] = offset + 1
    return Message(
        topic=topic.name,
        partition=partition,
        offset=offset,
        timestamp=int(datetime.now(UTC).timestamp() * 1000) if timestamp is None else timestamp,
        timestamp_type=1,
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=len(key or b""),
        serialized_value_size=len(value or b""),
        headers=tuple(headers),
    )


def engine_signal(**changes: Any) -> dict[str, Any]:
    """A signal as the engine publishes it, with the required fields and the figures that classify it."""
    return {
        "canonical_node_id": "node:breach-rate",
        "metric_id": "breachRate",
        "domain": "Effectiveness",
        "facility": "Northfield General",
        "facility_id": "NG1",
        "service_line": "Emergency",
        "description": "Waits over four hours are more frequent than at peers.",
        "metric_value": 0.21,
        "peer_mean": 0.12,
        "peer_std": 0.05,
        "percentile_rank": 96.0,
        "detected_at": "2026-07-01T00:00:00Z",
    } | changes
