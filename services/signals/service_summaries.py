"""One sentence for the feed about what happened to a signal, for a leader to read."""

from collections.abc import Sequence
from datetime import datetime

from services.signals.service_content import Content, MetricEntry
from shared.events.vocabulary import ActivityEventType

_FIELD_WORDS = {
    "simplified_signal_type": "type",
    "simplified_severity": "severity",
    "magnitude_tier": "magnitude",
    "trajectory_tier": "trajectory",
    "consistency_tier": "consistency",
    "metric_trend_timeline": "timeline",
    "peer_percentile_trends": "peers",
    "why_matters_narrative": "narrative",
}
_MOST_FIELDS = 3


def detected(content: Content, metric: MetricEntry | None) -> str:
    """A first detection."""
    return f"{_place(content)}: new signal for {_name(content, metric)}, {_kind(content)}."


def redetected(
    content: Content, metric: MetricEntry | None, previous_severity: int, feed_type: ActivityEventType | None
) -> str:
    """A newer detection of a known entity."""
    verb = {ActivityEventType.REGRESSION: "got worse", ActivityEventType.IMPROVEMENT: "improved"}.get(
        feed_type or ActivityEventType.NEW_SIGNAL, "was measured again"
    )
    severity = content.simplified_severity
    change = f"severity {severity}" if severity == previous_severity else f"severity {previous_severity} to {severity}"
    return f"{_place(content)}: {_name(content, metric)} {verb}, now {_type(content)}, {change}."


def recorded(content: Content, metric: MetricEntry | None, detected_at: datetime) -> str:
    """An older detection, kept as history."""
    return (
        f"{_place(content)}: the finding for {_name(content, metric)} of {detected_at:%Y-%m-%d} "
        f"was added to the history, {_kind(content)}."
    )


def corrected(content: Content, metric: MetricEntry | None, changed: Sequence[str]) -> str:
    """The same detection with other values."""
    named = changed[:_MOST_FIELDS]
    words = [_FIELD_WORDS.get(name, name.removeprefix("simplified_").replace("_", " ")) for name in named]
    if len(changed) > _MOST_FIELDS:
        words.append(f"{len(changed) - _MOST_FIELDS} more")
    return f"{_place(content)}: {_name(content, metric)} was corrected ({', '.join(words)}), {_kind(content)}."


def edited(content: Content, metric: MetricEntry | None, changed: Sequence[str], user_name: str) -> str:
    """Texts that a user wrote."""
    words = " and ".join(_FIELD_WORDS.get(name, name) for name in changed)
    return f"{_place(content)}: {user_name} edited the {words} of {_name(content, metric)}, {_kind(content)}."


def insight(content: Content, metric: MetricEntry | None, title: str) -> str:
    """A text of the engine about a signal."""
    line = " ".join(title.split()).rstrip(".")
    return f"{_place(content)}: insight on {_name(content, metric)}: {line}."


def _place(content: Content) -> str:
    return f"{content.facility} ({content.group_value})" if content.group_value else content.facility


def _name(content: Content, metric: MetricEntry | None) -> str:
    return metric.display_name if metric else content.metric_id


def _type(content: Content) -> str:
    return content.simplified_signal_type.replace("_", " ")


def _kind(content: Content) -> str:
    return f"{_type(content)}, severity {content.simplified_severity}"
