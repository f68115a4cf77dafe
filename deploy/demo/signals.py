"""Findings as the messages of the engine's topic: plain JSON objects, type and severity left to the service."""

from typing import Any

from msgspec.structs import asdict

from deploy.demo.figures import Entity, Measure
from deploy.demo.months import month_after, period, spoken
from deploy.demo.peers import Finding, PeerMonth

_STABLE_CHANGE = 0.05
"""A fitted line that moves by less than this share of the mean, over the whole timeline, counts as stable."""

Message = dict[str, Any]


def message(finding: Finding) -> Message:
    """The signal of one finding."""
    entity, month = finding.entity, finding.last_month
    measure, facility = entity.measure, entity.facility
    peers = finding.peers[month]
    optional = {
        "system_name": facility.system_name,
        "temporal_node_id": measure.temporal_node_id,
        "peer_std": _rounded(peers.std),
        "entity_dimensions": dict(entity.dimensions) or None,
        "groupby_label": " / ".join(_label(name) for name, _ in entity.dimensions) or None,
        "group_value": " / ".join(value for _, value in entity.dimensions) or None,
    }
    return {
        "canonical_node_id": measure.canonical_node_id,
        "metric_id": measure.metric_id,
        "domain": measure.domain,
        "facility": facility.name,
        "facility_id": facility.facility_id,
        "service_line": measure.service_line,
        "description": _description(finding),
        "metric_value": _rounded(finding.value(month)),
        "peer_mean": _rounded(peers.mean),
        "percentile_rank": _rounded(finding.percentile_rank),
        "encounters": round(finding.months[month].denominator),
        "detected_at": month_after(month),
        "polarity": measure.polarity,
        "period_count": len(finding.months),
        "trend_direction": _trend_direction(finding),
        "simplified_inputs": asdict(finding.inputs),
        "metric_trend_timeline": [
            {
                "period": period(number),
                "value": _rounded(finding.value(number)),
                "encounters": round(cases.denominator),
            }
            for number, cases in finding.months.items()
        ],
        "peer_percentile_trends": [_peer_trend(number, each) for number, each in finding.peers.items()],
        "metadata_per_period": [
            {"period": period(number), "numerator": cases.numerator, "denominator": cases.denominator}
            for number, cases in finding.months.items()
        ],
        **{name: value for name, value in optional.items() if value is not None},
    }


def _peer_trend(month: int, peers: PeerMonth) -> Message:
    percentiles = zip(("p10", "p25", "p50", "p75", "p90"), map(_rounded, peers.percentiles), strict=True)
    return {
        "period": period(month),
        **dict(percentiles),
        "mean": _rounded(peers.mean),
        "std": _rounded(peers.std),
        "n": peers.n,
    }


def _rounded(value: float | None) -> float | None:
    # Two digits more than the columns keep. The inputs go out unrounded: thresholds are compared with them.
    return None if value is None else round(value, 6)


def _label(dimension: str) -> str:
    return dimension.replace("_", " ").capitalize()


def _trend_direction(finding: Finding) -> str:
    months = list(finding.months)
    change = (finding.slope or 0.0) * (months[-1] - months[0])
    average = sum(map(finding.value, months)) / len(months)
    if abs(change) <= _STABLE_CHANGE * abs(average):
        return "stable"
    return "increasing" if change > 0 else "decreasing"


def _description(finding: Finding) -> str:
    entity, month = finding.entity, finding.last_month
    peers = finding.peers[month]
    where = f"{entity.measure.name} at {entity.facility.name}{_slice(entity)}"
    value = _written(finding.value(month), entity.measure)
    if peers.n == 1:
        return f"{where} was {value} in {spoken(month)}; there are no peers to compare it with."
    return (
        f"{where} was {value} in {spoken(month)}, against {_written(peers.mean, entity.measure)} on average "
        f"among {peers.n} peers (percentile {finding.percentile_rank:.0f})."
    )


def _slice(entity: Entity) -> str:
    named = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in entity.dimensions)
    return f" ({named})" if named else ""


def _written(value: float, measure: Measure) -> str:
    return f"{value:.1%}" if measure.as_percentage else f"{value:.2f}"
