"""Filter options, facilities and summary, from the counts; and the worker that keeps the counts.

With a second between two folds and an answer kept for a second (three where many values make it slow), what is
answered is less than 5 s behind the signals.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import partial
from itertools import groupby
from typing import Any, Final

from fastapi import FastAPI

from services.signals import repository_options
from services.signals.repository_options import OptionCount
from services.signals.schemas_options import SEVERITY_BANDS, FacilitiesQuery, Narrowing, OptionsQuery
from shared.db import SessionMaker
from shared.events.vocabulary import (
    AssignmentStatus,
    ConsistencyTier,
    MagnitudeTier,
    SignalDomain,
    SignalType,
    TrajectoryTier,
)
from shared.supervision import look_again

_FOLD_SECONDS: Final = 1.0

_LISTS: Final = (
    *("domain", "facility", "facility_id", "system_name", "service_line", "sub_service_line", "metric_id"),
    *("signal_type", "magnitude_tier", "status", "assignee_id"),
)
_TIERS: Final = {
    "magnitude_tier": MagnitudeTier,
    "trajectory_tier": TrajectoryTier,
    "consistency_tier": ConsistencyTier,
}
_SUMMED: Final = ("signal", "signal_type", "severity", "status", "assignee_id", *_TIERS)


async def keep_option_counts(app: FastAPI) -> None:
    """Fold what ingest, workflow and commands changed into the counts, until cancelled."""
    await look_again("option counts", partial(fold, app.state.session_maker), _FOLD_SECONDS)


async def fold(maker: SessionMaker) -> bool:
    """One transaction of folding; whether there may be more to fold."""
    async with maker() as session, session.begin():
        return await repository_options.fold(session)


async def filter_options(maker: SessionMaker, query: OptionsQuery) -> dict[str, Any]:
    """The content of `FilterOptions`."""
    async with maker() as session, session.begin():
        # One more than is shown, and those that have no value at all, which come first.
        found = await repository_options.options(session, query.domain, query.system_name, query.limit + 2)
    lists: dict[str, list[dict[str, Any]]] = {name: [] for name in _LISTS}
    dimensions: dict[str, list[dict[str, Any]]] = {}
    totals = {"signal": 0, "unassigned": 0}
    truncated = []
    for (facet, name), group in groupby(found, key=lambda option: (option.facet, option.name)):
        options = list(group)
        if facet == "signal":
            totals[facet] = sum(option.count for option in options)
            continue
        if facet == "assignee_id":
            totals["unassigned"] = _count(options, None)
        shown = lists.get(facet) if name is None else dimensions.setdefault(name, [])
        if shown is None:
            continue
        known = [option for option in options if option.value is not None]
        if len(known) > query.limit:
            truncated.append(facet if name is None else f"dimension.{name}")
        shown += [
            {"value": option.value, "label": option.label, "count": option.count} for option in known[: query.limit]
        ]
    return {
        "total_count": totals["signal"],
        "unassigned_count": totals["unassigned"],
        **lists,
        "dimensions": dimensions,
        "truncated": truncated,
    }


async def facilities(maker: SessionMaker, query: FacilitiesQuery) -> dict[str, Any]:
    """The content of `Facilities`."""
    async with maker() as session, session.begin():
        found = await repository_options.facilities(session, query.domain, query.system_name, query.q, query.limit)
    systems = []
    for system_name, group in groupby(found, key=lambda facility: facility.system_name):
        rows = list(group)
        shown = [{"facility": row.facility, "facility_id": row.facility_id, "count": row.count} for row in rows]
        systems.append({"system_name": system_name, "count": rows[0].system_count, "facilities": shown})
    matching = found[0].facilities if found else 0
    return {"systems": systems, "facility_count": matching, "truncated": matching > len(found)}


async def summary(maker: SessionMaker, query: Narrowing) -> dict[str, Any]:
    """The content of `Summary`."""
    async with maker() as session, session.begin():
        found = await repository_options.counts(session, query.domain, query.system_name, _SUMMED)
    of: dict[str, list[OptionCount]] = {}
    for option in found:
        of.setdefault(option.facet, []).append(option)
    total = sum(option.count for option in of.get("signal", ()))
    return {
        "total_count": total,
        "open_count": total - _count(of.get("status", ()), AssignmentStatus.CLOSED),
        "unassigned_count": _count(of.get("assignee_id", ()), None),
        "by_domain": _by(of.get("domain", ()), SignalDomain),
        "by_signal_type": _by(of.get("signal_type", ()), SignalType),
        "by_severity_band": [
            {"minimum": low, "maximum": high, "count": _count(of.get("severity", ()), str(low))}
            for low, high in SEVERITY_BANDS
        ],
        "by_status": _by(of.get("status", ()), AssignmentStatus),
        **{f"by_{name}": _by(of.get(name, ()), [*values, None]) for name, values in _TIERS.items()},
    }


def _by(options: Sequence[OptionCount], values: Iterable[StrEnum | None]) -> list[dict[str, Any]]:
    return [{"value": value, "count": _count(options, value)} for value in values]


def _count(options: Sequence[OptionCount], value: str | None) -> int:
    return sum(option.count for option in options if option.value == value)
