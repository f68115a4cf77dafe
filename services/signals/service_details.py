"""A signal over time, how it was classified, and what came before it."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from services.signals import repository
from services.signals.schemas_details import PeriodView, TechnicalView, TemporalView
from shared.db import AnySession
from shared.errors import NotFoundError
from shared.pagination import cut, decode_cursor

_TEMPORAL: Final = (
    *("metric_id", "polarity", "trend_direction", "temporal_node_id"),
    *("metric_trend_timeline", "peer_percentile_trends", "metadata_per_period"),
)
_TECHNICAL: Final = (
    *("metric_value", "peer_mean", "peer_std", "percentile_rank", "polarity", "period_count", "suppressed"),
    *("magnitude_tier", "trajectory_tier", "consistency_tier", "simplified_signal_type", "simplified_severity"),
    *("simplified_severity_range", "simplified_inputs", "simplified_indicators", "simplified_reasoning"),
    *("simplified_severity_calculation", "engine_classified"),
)


async def temporal(session: AnySession, signal_id: UUID) -> TemporalView:
    """Timeline, peers and figures joined by month; a month that only one of them names is there too.

    Raises:
        NotFoundError: without the signal.
    """
    found = await _fields(session, signal_id, _TEMPORAL)
    timeline = _by_period(found.pop("metric_trend_timeline"))
    peers = _by_period(found.pop("peer_percentile_trends"))
    figures = _by_period(found.pop("metadata_per_period"))
    periods = [
        PeriodView(
            period=period,
            value=timeline.get(period, {}).get("value"),
            encounters=timeline.get(period, {}).get("encounters"),
            peers=peers.get(period),
            figures=figures.get(period),
        )
        for period in sorted(timeline.keys() | peers.keys() | figures.keys())
    ]
    return TemporalView(signal_id=signal_id, periods=periods, **found)


async def technical(session: AnySession, signal_id: UUID) -> TechnicalView:
    """How the signal was classified.

    Raises:
        NotFoundError: without the signal.
    """
    found = await _fields(session, signal_id, _TECHNICAL)
    value, mean, std = found.pop("metric_value"), found.pop("peer_mean"), found.pop("peer_std")
    zscore = (value - mean) / std if mean is not None and std else None
    return TechnicalView(signal_id=signal_id, zscore=zscore, **found)


async def history(session: AnySession, signal_id: UUID, limit: int, cursor: str | None) -> bytes:
    """A page of earlier detections, as the JSON of a `HistoryPage`.

    Raises:
        NotFoundError: without the signal.
        InvalidError: for a cursor of another list.
    """
    before: datetime | None = None if cursor is None else decode_cursor(cursor, tuple[datetime])[0]
    found = await repository.earlier(session, signal_id, before, limit + 1)
    if found is None:
        raise NotFoundError("There is no signal with this id.")
    rows, following = cut(found, limit, lambda row: row.place)
    rest = {"cursor": following, "has_more": following is not None}
    items = ",".join(row.item for row in rows)
    return f'{{"signals":[{items}],'.encode() + msgspec.json.encode(rest)[1:]


async def _fields(session: AnySession, signal_id: UUID, names: tuple[str, ...]) -> dict[str, Any]:
    found = await repository.fields(session, signal_id, names)
    if found is None:
        raise NotFoundError("There is no signal with this id.")
    return found


def _by_period(points: list[dict[str, Any]] | None) -> dict[str, dict[str, Any]]:
    return {point["period"]: {name: point[name] for name in point if name != "period"} for point in points or ()}
