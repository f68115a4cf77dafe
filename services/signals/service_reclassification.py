"""A stored detection classified again, by the thresholds and the registry's entry of now. Pure functions."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw

from services.signals.classification import (
    Classification,
    ClassificationSettings,
    Figures,
    SentClassification,
    classify,
)
from services.signals.service_content import Content, MetricEntry
from shared.events.engine import ClassificationInputs, PeerPeriod, TimelinePoint
from shared.events.vocabulary import MetricPolarity

Points = TypeVar("Points")

_decode: Final = msgspec.json.Decoder().decode
_decode_inputs: Final = msgspec.json.Decoder(ClassificationInputs | None).decode
_decode_timeline: Final = msgspec.json.Decoder(list[TimelinePoint] | None).decode
_decode_peers: Final = msgspec.json.Decoder(list[PeerPeriod] | None).decode
_encode: Final = msgspec.json.Encoder().encode


def reclassified(content: Content, metric: MetricEntry | None, settings: ClassificationSettings) -> Content:
    """The content as if the message that it was made from came now.

    Type and severity of the engine stay, with their breakdown, reasoning and indicators. The tiers are this service's
    own for every signal, and so are the inputs unless the engine sent them.
    """
    polarity = content.polarity
    if not content.engine_polarity:
        polarity = metric.polarity if metric else MetricPolarity.LOWER_IS_BETTER
    classification = classify(_figures(content, polarity, metric), settings)
    ours = msgspec.structs.replace(
        content,
        polarity=polarity,
        magnitude_tier=classification.magnitude_tier,
        trajectory_tier=classification.trajectory_tier,
        consistency_tier=classification.consistency_tier,
        simplified_inputs=content.simplified_inputs
        if content.engine_inputs
        else _with_unknown_names(content.simplified_inputs, classification),
    )
    if content.engine_classified:
        return ours
    return msgspec.structs.replace(
        ours,
        simplified_signal_type=classification.simplified_signal_type,
        simplified_severity=classification.simplified_severity,
        simplified_severity_range=Raw(_encode(classification.simplified_severity_range)),
        simplified_indicators=Raw(_encode(classification.simplified_indicators)),
        simplified_reasoning=classification.simplified_reasoning,
        simplified_severity_calculation=Raw(_encode(classification.simplified_severity_calculation)),
    )


def _figures(content: Content, polarity: MetricPolarity, metric: MetricEntry | None) -> Figures:
    sent = None
    if content.engine_classified:
        sent = SentClassification(content.simplified_signal_type, content.simplified_severity)
    return Figures(
        content.metric_value,
        content.peer_mean,
        content.peer_std,
        content.percentile_rank,
        polarity,
        metric.target_range if metric else None,
        _points(_decode_timeline(content.metric_trend_timeline)),
        _points(_decode_peers(content.peer_percentile_trends)),
        content.period_count,
        content.suppressed,
        _decode_inputs(content.simplified_inputs) if content.engine_inputs else None,
        sent,
    )


def _points(found: list[Points] | None) -> Sequence[Points]:
    return found or ()


def _with_unknown_names(stored: Raw, classification: Classification) -> Raw:
    """What the engine sent beside the inputs stays beside them."""
    document: dict[str, Any] = _decode(stored) or {}
    return Raw(_encode(document | classification.simplified_inputs))
