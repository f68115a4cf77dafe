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
    canonical_node_id: Annotated[str, Meta(description="Source node in the insight graph.")]
    metric_id: Annotated[str, Meta(description="Metric identifier.")]
    domain: Annotated[SignalDomain, Meta(description="Quality domain.")]
    facility: Annotated[str, Meta(description="Facility name.")]
    facility_id: Annotated[str | None, Meta(description="Medicare id or facility code.")]
    system_name: Annotated[str | None, Meta(description="Health system name.")]
    service_line: Annotated[str, Meta(description="Primary service line.")]
    sub_service_line: Annotated[str | None, Meta(description="Sub-service line.")]
    entity_dimensions: Annotated[
        dict[str, str], Meta(description="The slice of the facility; empty for the facility itself.")
    ]
    entity_dimensions_hash: Annotated[str, Meta(description="MD5 of the dimensions, 32 hex digits.")]
    groupby_label: Annotated[str | None, Meta(description="What the dimensions are called.")]
    group_value: Annotated[str | None, Meta(description="The dimensions' values, for a person to read.")]
    description: Annotated[str, Meta(description="What was found, for a person to read.")]
    why_matters_narrative: Annotated[str | None, Meta(description="Business impact in words.")]
    metric_value: Annotated[float, Meta(description="Current value.")]
    peer_mean: Annotated[float | None, Meta(description="Mean of the peers.")]
    peer_std: Annotated[float | None, Meta(description="Standard deviation of the peers.")]
    percentile_rank: Annotated[float | None, Meta(description="Position of the raw value among the peers, 0 to 100.")]
    encounters: Annotated[int | None, Meta(description="Number of patient encounters.")]
    polarity: Annotated[MetricPolarity, Meta(description="What is better for this metric.")]
    trend_direction: Annotated[str | None, Meta(description="increasing, decreasing or stable.")]
    magnitude_tier: Annotated[MagnitudeTier | None, Meta(description="How far from the peers.")]
    trajectory_tier: Annotated[TrajectoryTier | None, Meta(description="Direction and speed of change.")]
    consistency_tier: Annotated[ConsistencyTier | None, Meta(description="Stability of the timeline.")]
    simplified_signal_type: Annotated[SignalType, Meta(description="One of the nine types.")]
    simplified_severity: Annotated[int, Meta(ge=0, le=100, description="0 to 100.")]
    annual_excess_cost: Annotated[float | None, Meta(description="Estimated annual excess cost.")]
    excess_los_days: Annotated[float | None, Meta(description="Excess length of stay, days.")]
    capacity_impact_bed_days: Annotated[float | None, Meta(description="Bed-day capacity impact.")]
    expected_metric_value: Annotated[float | None, Meta(description="Expected by case mix.")]
    detected_at: Annotated[datetime, Meta(tz=True, description="When the anomaly was detected.")]


class SignalChanged(Struct, frozen=True, kw_only=True):
    """A signal's state and which of its fields differ from before (empty for a first sight of it)."""

    signal: Annotated[SignalState, Meta(description="The signal after the change.")]
    changed: Annotated[list[str], Meta(description="Names of the fields that differ from the state before.")] = []


class SignalRedetected(Struct, frozen=True, kw_only=True):
    """A newer detection of a known entity, beside what it is compared with."""

    signal: Annotated[SignalState, Meta(description="The signal after the change.")]
    previous_severity: Annotated[int, Meta(description="Of the detection it is compared with.")]
    previous_signal_type: Annotated[SignalType, Meta(description="Of the detection it is compared with.")]
    previous_magnitude_tier: Annotated[MagnitudeTier | None, Meta(description="Of the detection it is compared with.")]
    changed: Annotated[list[str], Meta(description="Names of the fields that differ from the state before.")] = []


class InsightGenerated(Struct, frozen=True, kw_only=True):
    """A text of the engine about a signal."""

    signal: Annotated[SignalState, Meta(description="The signal after the change.")]
    insight_id: Annotated[UUID, Meta(description="Of this insight.")]
    title: Annotated[str, Meta(description="One line.")]
    text: Annotated[str, Meta(description="The text.")]
    confidence: Annotated[float, Meta(ge=0, le=1, description="0 to 1.")]


class TargetRange(Struct, frozen=True):
    """Where the metric should lie; both ends belong to it."""

    low: Annotated[float, Meta(description="Lower end.")]
    high: Annotated[float, Meta(description="Upper end.")]


class MetricChanged(Struct, frozen=True, kw_only=True):
    """A metric of the registry after a change; the event's subject is derived from the metric's id."""

    metric_id: Annotated[str, Meta(description="Metric identifier.")]
    display_name: Annotated[str, Meta(description="What people call the metric.")]
    domain: Annotated[SignalDomain | None, Meta(description="Quality domain.")]
    unit: Annotated[str | None, Meta(description="Unit of the values.")]
    polarity: Annotated[MetricPolarity, Meta(description="What is better for this metric.")]
    target_range: Annotated[TargetRange | None, Meta(description="Where the metric should lie.")]
    changed: Annotated[list[str], Meta(description="Names of the fields that differ from the state before.")] = []


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
