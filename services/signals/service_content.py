"""What a signal says: the values that a detection gives its row, in the order of the columns."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from services.signals.classification import Classification, ClassificationSettings, Figures, classify
from services.signals.service_validation import Detection
from shared.events.signals import SignalState
from shared.events.vocabulary import (
    ConsistencyTier,
    MagnitudeTier,
    MetricPolarity,
    SignalDomain,
    SignalType,
    TrajectoryTier,
)


class MetricEntry(Struct, frozen=True):
    """A metric of the registry, as far as ingest needs it."""

    display_name: str
    polarity: MetricPolarity
    target_range: tuple[float, float] | None


class Content(Struct, frozen=True):
    """The engine's figures and texts, and the classification.

    JSON columns are encoded already, `null` for NULL: a batch of these fits the processor's cache, which decoded
    timelines do not.
    """

    canonical_node_id: str
    metric_id: str
    domain: SignalDomain
    facility: str
    facility_id: str | None
    system_name: str | None
    service_line: str
    sub_service_line: str | None
    description: str
    metric_value: float
    peer_mean: float | None
    peer_std: float | None
    percentile_rank: float | None
    encounters: int | None
    simplified_signal_type: SignalType
    simplified_severity: int
    simplified_severity_range: Raw
    simplified_inputs: Raw
    simplified_indicators: Raw
    simplified_reasoning: str
    simplified_severity_calculation: Raw
    entity_dimensions: dict[str, str]
    entity_dimensions_hash: str
    groupby_label: str | None
    group_value: str | None
    temporal_node_id: str | None
    metric_trend_timeline: Raw
    trend_direction: str | None
    metadata_per_period: Raw
    peer_percentile_trends: Raw
    annual_excess_cost: float | None
    excess_los_days: float | None
    capacity_impact_bed_days: float | None
    expected_metric_value: float | None
    why_matters_narrative: str | None
    extra: Raw
    polarity: MetricPolarity
    period_count: int | None
    suppressed: bool
    magnitude_tier: MagnitudeTier | None
    trajectory_tier: TrajectoryTier | None
    consistency_tier: ConsistencyTier | None
    engine_classified: bool
    engine_inputs: bool
    engine_polarity: bool


FIELDS: Final = Content.__struct_fields__
JSON_FIELDS: Final = frozenset(
    {
        "simplified_severity_range",
        "simplified_inputs",
        "simplified_indicators",
        "simplified_severity_calculation",
        "entity_dimensions",
        "metric_trend_timeline",
        "metadata_per_period",
        "peer_percentile_trends",
        "extra",
    }
)


class Known(Struct):
    """A row of `signals` while a batch is folded: stored before, or made by an earlier message.

    Of a stored row `content` is loaded only where the database cannot compare it by itself: several messages correct
    the row, or a user wrote a text of it. `stored_sequence` is 0 for a row
    that is not stored yet; otherwise what the row must still have when it is written.
    """

    signal_id: UUID
    entity_id: UUID
    detected_at: datetime
    is_current: bool
    event_sequence: int
    digest: bytes | None
    signal_type: SignalType
    severity: int
    magnitude_tier: MagnitudeTier | None
    stored_sequence: int = 0
    previous_signal_id: UUID | None = None
    content: Content | None = None
    description_edited: bool = False
    narrative_edited: bool = False

    @property
    def is_edited(self) -> bool:
        """Whether a user wrote one of the texts."""
        return self.description_edited or self.narrative_edited


class Past(Struct, frozen=True):
    """What the database knows of a batch: the rows with its ids, and the current rows of its entities."""

    rows: dict[UUID, Known]
    currents: dict[UUID, Known]


def content_of(detection: Detection, metric: MetricEntry | None, settings: ClassificationSettings) -> Content:
    """Classify a detection and bring it into the shape of its row."""
    message, document, numbers = detection.message, detection.document, detection.numbers
    polarity = message.polarity
    if polarity is None:
        polarity = metric.polarity if metric else MetricPolarity.LOWER_IS_BETTER
    classification = classify(
        Figures(
            numbers.metric_value,
            numbers.peer_mean,
            numbers.peer_std,
            numbers.percentile_rank,
            polarity,
            metric.target_range if metric else None,
            message.metric_trend_timeline or (),
            message.peer_percentile_trends or (),
            message.period_count,
            bool(message.suppressed),
            message.simplified_inputs,
            detection.sent,
        ),
        settings,
    )
    return Content(
        message.canonical_node_id,
        message.metric_id,
        message.domain,
        message.facility,
        message.facility_id,
        message.system_name,
        message.service_line,
        message.sub_service_line,
        message.description,
        numbers.metric_value,
        numbers.peer_mean,
        numbers.peer_std,
        numbers.percentile_rank,
        message.encounters,
        classification.simplified_signal_type,
        classification.simplified_severity,
        _json(classification.simplified_severity_range),
        # What the engine sent is stored as it came, with names that no contract knows; the rest is filled in.
        _json((document.get("simplified_inputs") or {}) | classification.simplified_inputs),
        _json(classification.simplified_indicators),
        classification.simplified_reasoning,
        _json(_calculation(classification, document)),
        message.entity_dimensions or {},
        detection.identity.dimensions_hash,
        message.groupby_label,
        message.group_value,
        message.temporal_node_id,
        detection.identity.metric_trend_timeline,
        message.trend_direction,
        detection.identity.metadata_per_period,
        detection.identity.peer_percentile_trends,
        numbers.annual_excess_cost,
        numbers.excess_los_days,
        numbers.capacity_impact_bed_days,
        numbers.expected_metric_value,
        message.why_matters_narrative,
        _json(detection.extra),
        polarity,
        message.period_count,
        bool(message.suppressed),
        classification.magnitude_tier,
        classification.trajectory_tier,
        classification.consistency_tier,
        classification.by_engine,
        _has_inputs(document),
        message.polarity is not None,
    )


def _calculation(classification: Classification, document: dict[str, Any]) -> dict[str, Any]:
    if classification.by_engine:
        sent: dict[str, Any] | None = document.get("simplified_severity_calculation")
        return sent or classification.simplified_severity_calculation
    return classification.simplified_severity_calculation


def _has_inputs(document: dict[str, Any]) -> bool:
    sent = document.get("simplified_inputs") or {}
    return any(sent.get(name) is not None for name in _INPUTS)


_INPUTS: Final = ("aggregate_zscore", "slope_percentile", "acceleration", "zscore_std", "max_abs_deviation")


def differences(old: Content, new: Content) -> list[str]:
    """Names of the fields in which two states of a signal differ, as PostgreSQL would find them.

    JSON that says the same is no difference: other spaces, another order of names, 1.0 for 1.
    """
    if old == new:
        return []
    pairs = zip(FIELDS, msgspec.structs.astuple(old), msgspec.structs.astuple(new), strict=True)
    return [
        name
        for name, before, after in pairs
        if before != after and not (isinstance(before, Raw) and _is_same(_decode(before), _decode(after)))
    ]


def _is_same(one: Any, other: Any) -> bool:
    """Equal as `jsonb`, in which true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _json(value: Any) -> Raw:
    return Raw(_encode(value))


_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
# A double would take two numbers for one that PostgreSQL, which stores every digit, tells apart.
_decode: Final = msgspec.json.Decoder(float_hook=Decimal).decode


def state_of(
    content: Content,
    *,
    signal_id: UUID,
    entity_id: UUID,
    previous_signal_id: UUID | None,
    is_current: bool,
    detected_at: datetime,
) -> SignalState:
    """The state that events carry: all but the timelines and per-period figures."""
    return SignalState(
        signal_id=signal_id,
        entity_id=entity_id,
        previous_signal_id=previous_signal_id,
        is_current=is_current,
        canonical_node_id=content.canonical_node_id,
        metric_id=content.metric_id,
        domain=content.domain,
        facility=content.facility,
        facility_id=content.facility_id,
        system_name=content.system_name,
        service_line=content.service_line,
        sub_service_line=content.sub_service_line,
        entity_dimensions=content.entity_dimensions,
        entity_dimensions_hash=content.entity_dimensions_hash,
        groupby_label=content.groupby_label,
        group_value=content.group_value,
        description=content.description,
        why_matters_narrative=content.why_matters_narrative,
        metric_value=content.metric_value,
        peer_mean=content.peer_mean,
        peer_std=content.peer_std,
        percentile_rank=content.percentile_rank,
        encounters=content.encounters,
        polarity=content.polarity,
        trend_direction=content.trend_direction,
        magnitude_tier=content.magnitude_tier,
        trajectory_tier=content.trajectory_tier,
        consistency_tier=content.consistency_tier,
        simplified_signal_type=content.simplified_signal_type,
        simplified_severity=content.simplified_severity,
        annual_excess_cost=content.annual_excess_cost,
        excess_los_days=content.excess_los_days,
        capacity_impact_bed_days=content.capacity_impact_bed_days,
        expected_metric_value=content.expected_metric_value,
        detected_at=detected_at,
    )
