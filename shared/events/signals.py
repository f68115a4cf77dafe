"""What the signals service publishes on ``compass.signals.v1``."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from msgspec import Meta, Struct

from shared.events import topics
from shared.events.envelope import EventType
from shared.events.vocabulary import (
    ActivityEventType,
    ConsistencyTier,
    MagnitudeTier,
    MetricPolarity,
    SignalDomain,
    SignalType,
    TrajectoryTier,
)

SOURCE: Final = "/services/signals"


class SignalState(Struct, frozen=True, kw_only=True):
    """A signal after the change: all but the timelines and per-period figures, which only the signals API serves."""

    signal_id: Annotated[UUID, Meta(description="This detection.")]
    entity_id: Annotated[UUID, Meta(description="What is watched; the same for all its detections.")]
    previous_signal_id: Annotated[
        UUID | None, Meta(description="The entity's detection before this one by `detected_at`, if any.")
    ]
    is_current: Annotated[bool, Meta(description="Whether this is the entity's latest detection.")]
    canonical_node_id: str
    metric_id: str
    domain: SignalDomain
    facility: str
    facility_id: str | None
    system_name: str | None
    service_line: str
    sub_service_line: str | None
    entity_dimensions: dict[str, str]
    entity_dimensions_hash: str
    groupby_label: str | None
    group_value: str | None
    description: str
    why_matters_narrative: str | None
    metric_value: float
    peer_mean: float | None
    peer_std: float | None
    percentile_rank: float | None
    encounters: int | None
    polarity: MetricPolarity
    trend_direction: str | None
    magnitude_tier: MagnitudeTier | None
    trajectory_tier: TrajectoryTier | None
    consistency_tier: ConsistencyTier | None
    simplified_signal_type: SignalType
    simplified_severity: Annotated[int, Meta(ge=0, le=100)]
    annual_excess_cost: float | None
    excess_los_days: float | None
    capacity_impact_bed_days: float | None
    expected_metric_value: float | None
    detected_at: Annotated[datetime, Meta(tz=True)]


class SignalChanged(Struct, frozen=True, kw_only=True):
    """A signal's state and which of its fields differ from before (empty for a first sight of it)."""

    signal: SignalState
    changed: Annotated[list[str], Meta(description="Names of the fields that differ from the state before.")] = []


class SignalRedetected(Struct, frozen=True, kw_only=True):
    """A newer detection of a known entity, beside what it is compared with."""

    signal: SignalState
    previous_severity: int
    previous_signal_type: SignalType
    previous_magnitude_tier: MagnitudeTier | None
    changed: list[str] = []


class InsightGenerated(Struct, frozen=True, kw_only=True):
    """A text of the engine about a signal."""

    signal: SignalState
    insight_id: UUID
    title: str
    text: str
    confidence: Annotated[float, Meta(ge=0, le=1)]


class TargetRange(Struct, frozen=True):
    """Where the metric should lie; both ends belong to it."""

    low: float
    high: float


class MetricChanged(Struct, frozen=True, kw_only=True):
    """A metric of the registry after a change; the event's subject is derived from the metric's id."""

    metric_id: str
    display_name: str
    domain: SignalDomain | None
    unit: str | None
    polarity: MetricPolarity
    target_range: TargetRange | None
    changed: list[str] = []


def _event(name: str, data: type[Struct], when: str, **more: Any) -> EventType:
    subject = "metric id (UUIDv5)" if name.startswith("metric.") else "signal id"
    return EventType(
        name=f"compass.{name}.v1",
        topic=topics.COMPASS_SIGNALS,
        source=SOURCE,
        subject=subject,
        data=data,
        when=when,
        **more,
    )


SIGNAL_DETECTED: Final = _event(
    "signal.detected", SignalChanged, "First detection of an entity.", feed_types=(ActivityEventType.NEW_SIGNAL,)
)
SIGNAL_REDETECTED: Final = _event(
    "signal.redetected",
    SignalRedetected,
    "A newer detection of a known entity.",
    feed_types=(ActivityEventType.REGRESSION, ActivityEventType.IMPROVEMENT),
)
SIGNAL_RECORDED: Final = _event(
    "signal.recorded", SignalChanged, "A detection older than the entity's current one: history."
)
SIGNAL_CORRECTED: Final = _event(
    "signal.corrected",
    SignalChanged,
    "The same detection published again with other values, edited by a user, or reclassified.",
)
SIGNAL_SNAPSHOT: Final = _event(
    "signal.snapshot", SignalChanged, "The present state, on demand, for a consumer that came late.", snapshot=True
)
INSIGHT_GENERATED: Final = _event(
    "insight.generated",
    InsightGenerated,
    "The engine's insight for a known signal.",
    feed_types=(ActivityEventType.INSIGHT,),
)
METRIC_CHANGED: Final = _event("metric.changed", MetricChanged, "The metric registry changed.")
METRIC_SNAPSHOT: Final = _event(
    "metric.snapshot", MetricChanged, "The registry's present state, on demand.", snapshot=True
)

EVENTS: Final = (
    SIGNAL_DETECTED,
    SIGNAL_REDETECTED,
    SIGNAL_RECORDED,
    SIGNAL_CORRECTED,
    SIGNAL_SNAPSHOT,
    INSIGHT_GENERATED,
    METRIC_CHANGED,
    METRIC_SNAPSHOT,
)
