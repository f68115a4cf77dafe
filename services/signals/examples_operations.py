"""Examples of answers about metrics and dead letters, and of counts, for the description of the API."""

from typing import Final

from services.signals.examples import Example
from shared.events.vocabulary import (
    AssignmentStatus,
    ConsistencyTier,
    MagnitudeTier,
    SignalDomain,
    SignalType,
    TrajectoryTier,
)

METRIC: Final[Example] = {
    "metric_id": "losIndex",
    "display_name": "Length of stay",
    "domain": "Efficiency",
    "unit": "days",
    "polarity": "lower_is_better",
    "target_range": None,
    "created_at": "2026-06-01T09:00:00Z",
    "updated_at": "2026-07-02T09:00:00Z",
}

METRICS: Final[Example] = {
    "metrics": [
        {
            **METRIC,
            "metric_id": "bedOccupancy",
            "display_name": "Bed occupancy",
            "unit": "share",
            "polarity": "target_range",
            "target_range": {"low": 0.82, "high": 0.92},
        },
        METRIC,
    ]
}

RECOMPUTATION: Final[Example] = {
    "metric_id": "losIndex",
    "state": "running",
    "total": 1200,
    "examined": 500,
    "changed": 31,
    "requested_at": "2026-07-02T09:00:00Z",
    "finished_at": None,
}

_LETTER_ID: Final = "0d0c5f0e-2a9b-5d51-8d6c-3d1d2f1f7a11"
_PLACE: Final[Example] = {
    "consumer_group": "signals.ingest",
    "topic": "engine.signals.v1",
    "partition": 3,
    "offset": 51234,
}

DEAD_LETTER: Final[Example] = {
    "id": _LETTER_ID,
    **_PLACE,
    "code": "invalid_field",
    "detail": "Object missing required field `metric_value`.",
    "appended_at": "2026-07-02T08:59:59.120000Z",
    "rejected_at": "2026-07-02T09:00:00Z",
    "replayed_at": None,
    "size": 1380,
}

DEAD_LETTERS: Final[Example] = {"dead_letters": [DEAD_LETTER], "cursor": None, "has_more": False}

WHOLE_DEAD_LETTER: Final[Example] = {
    **DEAD_LETTER,
    "size": 28,
    "key": {"encoding": "utf-8", "text": "NG1"},
    "value": {"encoding": "utf-8", "text": '{"metric_id": "breachRate"}\n'},
    "headers": [{"name": "trace", "value": {"encoding": "base64", "text": "/wA="}}],
}

REPLAY: Final[Example] = {
    "replayed": [{"id": _LETTER_ID, **_PLACE}],
    "already_replayed": ["4a1f1f0c-64c5-5c12-9d4c-0c7f4d0e2b12"],
    "unknown": [],
    "refused": [
        {
            "id": "9f6e3c55-0a6b-5f5d-8e43-3d3b1a6e7c13",
            "detail": "There is no topic engine.signals.v0 any more.",
        }
    ],
    "has_more": False,
}

SUMMARY: Final[Example] = {
    "total_count": 3,
    "open_count": 2,
    "unassigned_count": 1,
    "by_domain": [{"value": value.value, "count": 3 * (value is SignalDomain.EFFECTIVENESS)} for value in SignalDomain],
    "by_signal_type": [
        {"value": value.value, "count": 3 * (value is SignalType.CHRONIC_UNDERPERFORMER)} for value in SignalType
    ],
    "by_severity_band": [
        {"minimum": 91, "maximum": 100, "count": 0},
        {"minimum": 81, "maximum": 90, "count": 3},
        {"minimum": 71, "maximum": 80, "count": 0},
        {"minimum": 60, "maximum": 70, "count": 0},
        {"minimum": 26, "maximum": 59, "count": 0},
        {"minimum": 13, "maximum": 25, "count": 0},
        {"minimum": 0, "maximum": 12, "count": 0},
    ],
    "by_status": [
        {
            "value": value.value,
            "count": int(value in (AssignmentStatus.NEW, AssignmentStatus.ASSIGNED, AssignmentStatus.CLOSED)),
        }
        for value in AssignmentStatus
    ],
    "by_magnitude_tier": [
        {"value": value and value.value, "count": 3 * (value is MagnitudeTier.SEVERE)}
        for value in (*MagnitudeTier, None)
    ],
    "by_trajectory_tier": [
        {"value": value and value.value, "count": 3 * (value is TrajectoryTier.DETERIORATING)}
        for value in (*TrajectoryTier, None)
    ],
    "by_consistency_tier": [
        {"value": value and value.value, "count": 3 * (value is ConsistencyTier.PERSISTENT)}
        for value in (*ConsistencyTier, None)
    ],
}
