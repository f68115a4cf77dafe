"""Examples of answers, for the description of the API: one department of one hospital, and what belongs to it."""

from typing import Any, Final

Example = dict[str, Any]

_SIGNAL_ID: Final = "2361cd3d-afb2-51f2-acd9-2b64c05c6443"
_EARLIER_ID: Final = "e93a48e3-bf43-5423-8d03-dcbbd383b777"
_OTHER_CHILD_ID: Final = "b0e3a268-06f2-5bf8-b957-7d6be2125087"
_PARENT_ID: Final = "54451c03-e8e9-59dd-88a8-0d933c25e4e6"
_NURSING: Final = {"id": "3f2b8c1e-6a55-4b9a-9d0e-2f6f0a4c7b11", "name": "Nursing Leadership"}
_CLINICAL: Final = {"id": "708e4281-22af-45fb-ac97-90677cd57f58", "name": "Clinical Leadership"}

SIGNAL: Final[Example] = {
    "id": _SIGNAL_ID,
    "entity_id": "efc55529-0fb4-5dda-a83e-61990290e882",
    "is_current": True,
    "canonical_node_id": "node:breach-rate",
    "metric_id": "breachRate",
    "domain": "Effectiveness",
    "facility": "Northfield General",
    "facility_id": "NG1",
    "system_name": "Northern Alliance",
    "service_line": "Emergency",
    "sub_service_line": None,
    "description": "Waits over four hours are more frequent than at peers.",
    "metric_value": 0.21,
    "peer_mean": 0.12,
    "peer_std": 0.05,
    "percentile_rank": 96.0,
    "encounters": 9120,
    "detected_at": "2026-07-01T00:00:00Z",
    "created_at": "2026-07-02T08:15:00Z",
    "updated_at": "2026-07-02T10:30:00Z",
    "simplified_signal_type": "chronic_underperformer",
    "simplified_severity": 88,
    "entity_dimensions": {"department": "1"},
    "groupby_label": "Department type",
    "group_value": "Type 1",
    "metric_trend_timeline": [
        {"period": "2026-05", "value": 0.2, "encounters": 9004},
        {"period": "2026-06", "value": 0.21, "encounters": 9120},
    ],
    "trend_direction": "increasing",
    "annual_excess_cost": 184000.0,
    "excess_los_days": None,
    "capacity_impact_bed_days": 310.5,
    "expected_metric_value": 0.13,
    "why_matters_narrative": "One patient in five waits over four hours.",
    "polarity": "lower_is_better",
    "magnitude_tier": "severe",
    "trajectory_tier": "rapidly_deteriorating",
    "consistency_tier": "persistent",
    "workflow_status": "assigned",
    "assignee": _NURSING,
    "days_open": 12,
}

_UNTOUCHED: Final[Example] = {"workflow_status": "new", "assignee": None}

_EARLIER: Final[Example] = {
    **SIGNAL,
    **_UNTOUCHED,
    "id": _EARLIER_ID,
    "is_current": False,
    "metric_value": 0.2,
    "percentile_rank": 94.0,
    "encounters": 9004,
    "detected_at": "2026-06-01T00:00:00Z",
    "created_at": "2026-06-02T08:15:00Z",
    "updated_at": "2026-07-02T08:15:00Z",
    "simplified_severity": 86,
    "metric_trend_timeline": [{"period": "2026-05", "value": 0.2, "encounters": 9004}],
    "days_open": 42,
}

_PARENT: Final[Example] = {
    **SIGNAL,
    **_UNTOUCHED,
    "id": _PARENT_ID,
    "entity_id": "7905d95e-dc86-55af-ac02-0d33612d5729",
    "metric_value": 0.18,
    "percentile_rank": 91.0,
    "encounters": 12160,
    "entity_dimensions": {},
    "groupby_label": None,
    "group_value": None,
    "metric_trend_timeline": [{"period": "2026-06", "value": 0.18, "encounters": 12160}],
    "simplified_severity": 85,
    "magnitude_tier": "severe",
}

_RELATED: Final[Example] = {
    **SIGNAL,
    **_UNTOUCHED,
    "id": "6c1c7a0c-9df6-5a53-9a3c-6a0f6e3b2f10",
    "entity_id": "0f3b1f7e-52a4-5a35-8f0e-8a4f5f2f9b21",
    "canonical_node_id": "node:left-unseen",
    "metric_id": "leftUnseenRate",
    "description": "More patients than at peers leave before they are seen.",
    "metric_value": 0.061,
    "peer_mean": 0.04,
    "peer_std": 0.012,
    "percentile_rank": 90.0,
    "simplified_signal_type": "emerging_risk",
    "simplified_severity": 68,
    "metric_trend_timeline": None,
    "trajectory_tier": "deteriorating",
    "consistency_tier": None,
}

INSIGHT: Final[Example] = {
    "id": "91523685-0351-52c0-864c-e321e9fc231d",
    "title": "Evening arrivals",
    "text": "Most breaches fall between 18:00 and 23:00.",
    "confidence": 0.82,
    "received_at": "2026-07-02T09:00:00Z",
}

INSIGHT_PAGE: Final[Example] = {"insights": [INSIGHT], "cursor": None, "has_more": False}

_CLASSIFICATION: Final[Example] = {
    "simplified_severity_range": [81, 90],
    "simplified_inputs": {
        "aggregate_zscore": 1.2465,
        "slope_percentile": 90.83,
        "acceleration": None,
        "zscore_std": 0.409,
        "max_abs_deviation": 1.677,
    },
    "simplified_indicators": {
        "magnitude_level": "elevated",
        "trajectory_direction": "rapidly_worsening",
        "trend_stability": "neutral",
        "volatility_level": "consistent",
        "deviation_level": "none",
    },
    "simplified_reasoning": "Chronic underperformer: worse than the peers (z-score 1.25, above 1) and worsening "
    "(slope percentile 90.83, at least 70).",
    "simplified_severity_calculation": {
        "base_severity": 85,
        "refinements": [
            {"factor": "slope", "adjustment": 2, "reason": "Slope percentile 90.83 is 80 or more."},
            {"factor": "position", "adjustment": 1, "reason": "Z-score 1.25 is above 0.5."},
        ],
        "final_severity": 88,
    },
}

_PEERS: Final = {"p10": 0.06, "p25": 0.09, "p50": 0.12, "p75": 0.15, "p90": 0.19, "mean": 0.12, "std": 0.05, "n": 214}

SIGNAL_DETAIL: Final[Example] = {
    **SIGNAL,
    **_CLASSIFICATION,
    "entity_dimensions_hash": "8c4cf4d59c9ed14b8c23a6df822ca14f",
    "temporal_node_id": "node:breach-rate:monthly",
    "metadata_per_period": [{"period": "2026-06", "breaches": 1915}],
    "peer_percentile_trends": [{"period": "2026-06", **_PEERS}],
    "extra": None,
    "period_count": 6,
    "suppressed": False,
    "engine_classified": False,
    "previous_signal_id": _EARLIER_ID,
    "current_signal_id": _SIGNAL_ID,
    "description_edited_at": None,
    "description_edited_by": None,
    "narrative_edited_at": "2026-07-02T10:30:00Z",
    "narrative_edited_by": _CLINICAL,
    "insights": [INSIGHT],
    "links": {
        "history": f"/api/signals/{_SIGNAL_ID}/history",
        "parent": f"/api/signals/{_SIGNAL_ID}/parent",
        "children": f"/api/signals/{_SIGNAL_ID}/children",
        "insights": f"/api/signals/{_SIGNAL_ID}/insights",
    },
}

SIGNAL_PAGE: Final[Example] = {
    "signals": [SIGNAL],
    "total_count": 483,
    "total_is_capped": False,
    "limit": 1,
    "offset": 0,
    "cursor": "WzEsImRlc2MiLDg4XQ",
    "has_more": True,
}

HISTORY_PAGE: Final[Example] = {"signals": [_EARLIER], "cursor": None, "has_more": False}

RELATIVES: Final[Example] = {"signals": [_RELATED]}

PARENT: Final[Example] = {"signal": _PARENT}

CONTRIBUTIONS: Final[Example] = {
    "signal_id": _PARENT_ID,
    "excess": 0.06,
    "contributions": [
        {
            "signal_id": _SIGNAL_ID,
            "group_value": "Type 1",
            "entity_dimensions": {"department": "1"},
            "encounters": 9120,
            "share": 0.75,
            "contribution": 0.0675,
        },
        {
            "signal_id": _OTHER_CHILD_ID,
            "group_value": "Type 2",
            "entity_dimensions": {"department": "2"},
            "encounters": 3040,
            "share": 0.25,
            "contribution": -0.0078,
        },
    ],
    "unexplained": 0.0003,
}

TEMPORAL: Final[Example] = {
    "signal_id": _SIGNAL_ID,
    "metric_id": "breachRate",
    "polarity": "lower_is_better",
    "trend_direction": "increasing",
    "temporal_node_id": "node:breach-rate:monthly",
    "periods": [
        {"period": "2026-05", "value": 0.2, "encounters": 9004, "peers": None, "figures": None},
        {"period": "2026-06", "value": 0.21, "encounters": 9120, "peers": _PEERS, "figures": {"breaches": 1915}},
    ],
}

TECHNICAL: Final[Example] = {
    "signal_id": _SIGNAL_ID,
    "zscore": 1.8,
    "percentile_rank": 96.0,
    "polarity": "lower_is_better",
    "period_count": 6,
    "suppressed": False,
    "magnitude_tier": "severe",
    "trajectory_tier": "rapidly_deteriorating",
    "consistency_tier": "persistent",
    "simplified_signal_type": "chronic_underperformer",
    "simplified_severity": 88,
    **_CLASSIFICATION,
    "engine_classified": False,
}
