"""What the upstream analytics engine publishes: plain JSON objects, no envelope, from any Kafka client.

The fields are the columns of ``signals`` in the data model, less those that the signals service gives itself. Unknown
fields are kept in the column ``extra``. What JSON types cannot say (rounding, fit of the column, agreement between
fields) the signals service checks.
"""

from datetime import UTC, datetime
from hashlib import md5, sha1
from typing import Annotated, Final
from uuid import UUID

import msgspec
import rfc8785
from msgspec import Meta, Struct

from shared.events.vocabulary import MetricPolarity, SignalDomain, SignalType

_ENTITY_NAMESPACE: Final = UUID("6a1c1f0e-52a7-5c58-9a43-0b6c7b1f9d10")
_NO_DIMENSIONS_HASH: Final = md5(b"{}", usedforsecurity=False).hexdigest()

_encode: Final = msgspec.json.Encoder().encode
_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode

Period = Annotated[
    str, Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$(?!\n)", description="A month, `YYYY-MM`.", examples=["2017-06"])
]
Count = Annotated[int, Meta(ge=0, le=2_147_483_647)]


def _text(description: str, longest: int, shortest: int = 0) -> Meta:
    return Meta(description=description, min_length=shortest, max_length=longest)


class TimelinePoint(Struct, frozen=True):
    """The metric's value in one month."""

    period: Period
    value: Annotated[float, Meta(description="The metric's raw value; null where the month has none.")] | None
    encounters: Annotated[Count, Meta(description="Patient encounters behind the value.")] | None = None


class PeerPeriod(Struct, frozen=True):
    """The distribution of the peers' raw values in one month."""

    period: Period
    p10: Annotated[float | None, Meta(description="10th percentile.")] = None
    p25: Annotated[float | None, Meta(description="25th percentile.")] = None
    p50: Annotated[float | None, Meta(description="Median.")] = None
    p75: Annotated[float | None, Meta(description="75th percentile.")] = None
    p90: Annotated[float | None, Meta(description="90th percentile.")] = None
    mean: Annotated[float | None, Meta(description="Mean.")] = None
    std: Annotated[float, Meta(ge=0, description="Sample standard deviation, n - 1.")] | None = None
    n: Annotated[Count, Meta(description="How many peers.")] | None = None


class PeriodFigures(Struct, frozen=True):
    """Figures of one month; whatever stands beside the period is kept as it came."""

    period: Period


class ClassificationInputs(Struct, frozen=True):
    """The five inputs of the nine-type classification, already turned so that high is bad."""

    aggregate_zscore: Annotated[float, Meta(description="Mean of the monthly z-scores.")] | None = None
    slope_percentile: Annotated[float, Meta(ge=0, le=100, description="High is worsening.")] | None = None
    acceleration: Annotated[float, Meta(description="Second derivative of the monthly z-scores.")] | None = None
    zscore_std: (
        Annotated[float, Meta(ge=0, description="Population standard deviation of the monthly z-scores.")] | None
    ) = None
    max_abs_deviation: Annotated[float, Meta(ge=0, description="Largest absolute monthly z-score.")] | None = None


class SeverityRefinement(Struct, frozen=True):
    """One adjustment of the base severity."""

    factor: Annotated[str, Meta(description="What was looked at.")]
    adjustment: Annotated[int, Meta(description="Points added.")]
    reason: Annotated[str, Meta(description="In words.")]


class SeverityCalculation(Struct, frozen=True):
    """How the severity came about; base and adjustments add up to the final severity."""

    base_severity: Annotated[int, Meta(description="Floor of the middle of the type's range.")]
    refinements: Annotated[list[SeverityRefinement], Meta(description="In the order of the rules.")]
    final_severity: Annotated[int, Meta(description="Base and adjustments added up.")]


class EngineSignal(Struct, frozen=True, kw_only=True):
    """One finding: where a facility departs from its peers in one metric, as of one moment."""

    canonical_node_id: Annotated[str, _text("Source node in the insight graph.", 255, 1)]
    metric_id: Annotated[str, _text("Metric identifier.", 100, 1)]
    domain: Annotated[SignalDomain, Meta(description="Quality domain.")]
    facility: Annotated[str, _text("Facility name.", 255, 1)]
    service_line: Annotated[str, _text("Primary service line.", 255, 1)]
    description: Annotated[str, Meta(min_length=1, description="What was found, for a person to read.")]
    metric_value: Annotated[float, Meta(description="Current value; fits NUMERIC(10,4), rounded half-even.")]
    detected_at: Annotated[datetime, Meta(tz=True, description="When the anomaly was detected; RFC 3339 with offset.")]

    facility_id: Annotated[str, _text("Medicare id or facility code.", 50, 1)] | None = None
    system_name: Annotated[str, _text("Health system name.", 255)] | None = None
    sub_service_line: Annotated[str, _text("Sub-service line.", 255)] | None = None
    peer_mean: Annotated[float, Meta(description="Mean of the peers; NUMERIC(10,4).")] | None = None
    peer_std: Annotated[float, Meta(ge=0, description="Standard deviation of the peers; NUMERIC(10,4).")] | None = None
    percentile_rank: (
        Annotated[float, Meta(ge=0, le=100, description="Position of the raw value among the peers; NUMERIC(5,2).")]
        | None
    ) = None
    encounters: Annotated[Count, Meta(description="Number of patient encounters.")] | None = None

    simplified_signal_type: Annotated[SignalType, Meta(description="One of the nine types.")] | None = None
    simplified_severity: Annotated[int, Meta(ge=0, le=100, description="Severity score.")] | None = None
    simplified_severity_range: (
        Annotated[tuple[int, int], Meta(description="Lowest and highest severity of the type.")] | None
    ) = None
    simplified_inputs: ClassificationInputs | None = None
    simplified_indicators: Annotated[dict[str, str], Meta(description="Categorical readings of the inputs.")] | None = (
        None
    )
    simplified_reasoning: Annotated[str, Meta(description="Which rule matched, in words.")] | None = None
    simplified_severity_calculation: SeverityCalculation | None = None

    entity_dimensions: (
        Annotated[
            dict[str, str],
            Meta(description="The slice of the facility; none and {} are the facility itself."),
        ]
        | None
    ) = None
    entity_dimensions_hash: (
        Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{32}$(?!\n)", description="MD5 of the dimensions, taken as given.")]
        | None
    ) = None
    groupby_label: Annotated[str, _text("What the dimensions are called.", 255)] | None = None
    group_value: Annotated[str, _text("The dimensions' values, for a person to read.", 500)] | None = None

    temporal_node_id: Annotated[str, _text("Node of the time series in the insight graph.", 255)] | None = None
    metric_trend_timeline: (
        Annotated[list[TimelinePoint], Meta(description="Monthly values, oldest first, each month once.")] | None
    ) = None
    trend_direction: Annotated[str, _text("increasing, decreasing or stable.", 20)] | None = None
    metadata_per_period: Annotated[
        list[PeriodFigures] | None, Meta(description="Breakdown per month, oldest first, each month once.")
    ] = None
    peer_percentile_trends: Annotated[
        list[PeerPeriod] | None, Meta(description="The peers' distribution, oldest first, each month once.")
    ] = None

    annual_excess_cost: Annotated[float, Meta(description="NUMERIC(12,2).")] | None = None
    excess_los_days: Annotated[float, Meta(description="NUMERIC(10,2).")] | None = None
    capacity_impact_bed_days: Annotated[float, Meta(description="NUMERIC(10,4).")] | None = None
    expected_metric_value: Annotated[float, Meta(description="Expected by case mix; NUMERIC(10,4).")] | None = None
    why_matters_narrative: Annotated[str, Meta(description="Business impact in words.")] | None = None

    polarity: (
        Annotated[MetricPolarity, Meta(description="What is better; else as the metric registry says.")] | None
    ) = None
    period_count: (
        Annotated[Count, Meta(description="Months behind the finding; else the timeline's length.")] | None
    ) = None
    suppressed: Annotated[bool, Meta(description="The figures are too few to be shown or trusted.")] | None = None


class EngineInsight(Struct, frozen=True, kw_only=True):
    """A text that the engine generated about an entity's current signal."""

    canonical_node_id: Annotated[str, _text("Source node in the insight graph.", 255, 1)]
    metric_id: Annotated[str, _text("Metric identifier.", 100, 1)]
    facility_id: Annotated[str, _text("Medicare id or facility code.", 50, 1)] | None = None
    entity_dimensions: Annotated[
        dict[str, str] | None, Meta(description="The slice of the facility; none and {} are the facility itself.")
    ] = None
    entity_dimensions_hash: (
        Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{32}$(?!\n)", description="MD5 of the dimensions, taken as given.")]
        | None
    ) = None
    title: Annotated[str, _text("One line.", 255, 1)]
    text: Annotated[str, Meta(min_length=1, description="The insight.")]
    confidence: Annotated[float, Meta(ge=0, le=1, description="0 to 1.")]


def dimensions_hash(dimensions: dict[str, str] | None) -> str:
    """MD5, in 32 hex digits, of the dimensions as canonical JSON (RFC 8785); none and ``{}`` give the same."""
    if not dimensions:
        return _NO_DIMENSIONS_HASH
    # Sorted compact JSON is canonical where all names are ASCII; other names RFC 8785 sorts by their UTF-16 units.
    canonical = _encode_sorted(dimensions) if "".join(dimensions).isascii() else rfc8785.dumps(dimensions)
    return md5(canonical, usedforsecurity=False).hexdigest()


def entity_id(canonical_node_id: str, metric_id: str, facility_id: str | None, entity_dimensions_hash: str) -> UUID:
    """The id of what the engine watches: one metric of one slice of one facility at one node."""
    # Compact JSON of a list of strings and null is canonical JSON (RFC 8785) as it is, at a fraction of the time.
    name = _encode((canonical_node_id, metric_id, facility_id, entity_dimensions_hash))
    return _uuid5(_ENTITY_NAMESPACE, name)


def signal_id(entity: UUID, detected_at: datetime) -> UUID:
    """The id of one detection of an entity, the same in every database that ever stores it."""
    return _uuid5(entity, detected_at.astimezone(UTC).isoformat(timespec="microseconds").encode())


def _uuid5(namespace: UUID, name: bytes) -> UUID:
    """RFC 9562 version 5, as `uuid.uuid5` makes it, without the detours that cost half of its time."""
    digest = int.from_bytes(sha1(namespace.bytes + name, usedforsecurity=False).digest()[:16])
    return UUID(int=digest & _WITHOUT_VERSION | _VERSION_5)


# The four bits of the version, and the two of the variant.
_WITHOUT_VERSION: Final = ~(0xF << 76 | 0x3 << 62)
_VERSION_5: Final = 0x5 << 76 | 0x2 << 62
