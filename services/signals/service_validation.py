"""From an engine's message to a `Detection`: decoded, rounded to the columns, checked, and named by its ids."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from hashlib import blake2b
from itertools import pairwise
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta, Raw, Struct

from services.signals.classification import ClassificationSettings, SentClassification, refusal
from shared.events.decoding import RejectedMessageError, convert, decode_object
from shared.events.engine import (
    EngineSignal,
    dimensions_hash,
    entity_id,
    signal_id,
)
from shared.telemetry import Cause

_LONGEST_LEAD: Final = timedelta(days=1)
_QUANTA: Final = {2: Decimal("0.01"), 4: Decimal("0.0001")}
_KNOWN_FIELDS: Final = frozenset(EngineSignal.__struct_fields__)
# Part of every digest: raise it when the same message would be stored differently from then on.
_CONTENT_VERSION: Final = b"1"


class Numbers(Struct, frozen=True):
    """The figures that have a NUMERIC column, rounded half-even to it."""

    metric_value: float
    peer_mean: float | None
    peer_std: float | None
    percentile_rank: float | None
    annual_excess_cost: float | None
    excess_los_days: float | None
    capacity_impact_bed_days: float | None
    expected_metric_value: float | None


class Identity(Struct, frozen=True):
    """Which detection a message is about. `digest` is the same for the same message only.

    The columns of monthly figures are the message's own bytes: written again from what was decoded, they would say the
    same and cost more than all the rest of the row.
    """

    signal_id: UUID
    entity_id: UUID
    detected_at: datetime
    dimensions_hash: str
    metric_id: str
    digest: bytes
    metric_trend_timeline: Raw
    metadata_per_period: Raw
    peer_percentile_trends: Raw


class Detection(Struct, frozen=True):
    """A valid message of the engine.

    `document` is the decoded message as it came, from which the JSON columns are stored; `extra` its unknown fields.
    """

    identity: Identity
    message: EngineSignal
    document: dict[str, Any]
    numbers: Numbers
    sent: SentClassification | None
    extra: dict[str, Any] | None
    cause: Cause


_MISSING: Final = Raw(b"null")


class _Named(Struct):
    """The part of `EngineSignal` that names a detection, and what is stored as it came."""

    canonical_node_id: str
    metric_id: str
    detected_at: Annotated[datetime, Meta(tz=True)]
    facility_id: str | None = None
    entity_dimensions: dict[str, str] | None = None
    entity_dimensions_hash: str | None = None
    metric_trend_timeline: Raw = _MISSING
    metadata_per_period: Raw = _MISSING
    peer_percentile_trends: Raw = _MISSING


_decode_named: Final = msgspec.json.Decoder(_Named).decode


def identify(raw: bytes | None, now: datetime) -> Identity:
    """Find out which detection a message is about, at a tenth of the cost of reading it.

    What it returns for is not valid yet: `read` says.

    Raises:
        RejectedMessageError: with a reason for the person who looks into the dead letters.
    """
    try:
        named = _decode_named(raw or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        convert(decode_object(raw), EngineSignal)  # says it better, with all that it looks at
        raise RejectedMessageError("invalid_json", f"The message cannot be read: {error}.") from None
    detected_at = _moment(named.detected_at, now)
    dimensions = named.entity_dimensions_hash or dimensions_hash(named.entity_dimensions)
    entity = entity_id(named.canonical_node_id, named.metric_id, named.facility_id, dimensions)
    digest = blake2b(raw or b"", digest_size=16, key=_CONTENT_VERSION).digest()
    return Identity(
        signal_id(entity, detected_at),
        entity,
        detected_at,
        dimensions,
        named.metric_id,
        digest,
        named.metric_trend_timeline,
        named.metadata_per_period,
        named.peer_percentile_trends,
    )


def read(raw: bytes | None, identity: Identity, cause: Cause, settings: ClassificationSettings) -> Detection:
    """Decode and validate one message of ``engine.signals.v1``, identified before.

    Raises:
        RejectedMessageError: with a reason for the person who looks into the dead letters.
    """
    document = decode_object(raw)
    message = convert(document, EngineSignal)
    _require_ascending("metric_trend_timeline", [point.period for point in message.metric_trend_timeline or ()])
    _require_ascending("peer_percentile_trends", [peers.period for peers in message.peer_percentile_trends or ()])
    sent = _sent(message)
    if sent is not None and (reason := refusal(sent, settings)) is not None:
        raise RejectedMessageError("invalid_classification", reason)
    return Detection(
        identity=identity,
        message=message,
        document=document,
        numbers=_numbers(message),
        sent=sent,
        extra=None
        if document.keys() <= _KNOWN_FIELDS
        else {name: value for name, value in document.items() if name not in _KNOWN_FIELDS},
        cause=cause,
    )


def rounded(name: str, value: float | None, digits: int, places: int) -> float | None:
    """The value as NUMERIC(digits, places) stores it: half-even, judged by its decimal digits.

    Raises:
        RejectedMessageError: where it does not fit.
    """
    if value is None:
        return None
    limit = 10.0 ** (digits - places)
    if -limit <= value <= limit:
        near = round(value, places)
        # `round` looks at the binary value, where 0.12345 is no tie; what has no further digits needs no rounding.
        if near != value:
            near = float(Decimal(repr(value)).quantize(_QUANTA[places], ROUND_HALF_EVEN))
        if -limit < near < limit:
            return near + 0.0  # makes 0 of -0
    raise RejectedMessageError("number_too_large", f"{name} {value:g} does not fit NUMERIC({digits},{places}).")


def _numbers(message: EngineSignal) -> Numbers:
    value = rounded("metric_value", message.metric_value, 10, 4)
    if value is None:
        raise RejectedMessageError("invalid_field", "metric_value is missing.")
    return Numbers(
        value,
        rounded("peer_mean", message.peer_mean, 10, 4),
        rounded("peer_std", message.peer_std, 10, 4),
        rounded("percentile_rank", message.percentile_rank, 5, 2),
        rounded("annual_excess_cost", message.annual_excess_cost, 12, 2),
        rounded("excess_los_days", message.excess_los_days, 10, 2),
        rounded("capacity_impact_bed_days", message.capacity_impact_bed_days, 10, 4),
        rounded("expected_metric_value", message.expected_metric_value, 10, 4),
    )


def _moment(detected_at: datetime, now: datetime) -> datetime:
    if detected_at - now > _LONGEST_LEAD:
        raise RejectedMessageError(
            "detected_in_future", f"detected_at {detected_at.isoformat()} is more than a day ahead."
        )
    try:
        return detected_at.astimezone(UTC)
    except OverflowError:
        raise RejectedMessageError("invalid_field", "detected_at lies before the year 1.") from None


def _require_ascending(name: str, months: list[str]) -> None:
    # Months as text sort like months.
    for earlier, later in pairwise(months):
        if earlier >= later:
            raise RejectedMessageError(
                "periods_out_of_order", f"{name} is not oldest first with each period once: {later} follows {earlier}."
            )


def _sent(message: EngineSignal) -> SentClassification | None:
    sent = SentClassification(
        message.simplified_signal_type,
        message.simplified_severity,
        message.simplified_severity_range,
        message.simplified_indicators,
        message.simplified_reasoning,
        message.simplified_severity_calculation,
    )
    return None if sent == _NOTHING_SENT else sent


_NOTHING_SENT: Final = SentClassification()
