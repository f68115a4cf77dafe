"""How many signals match, from the counts.

`option_counts` and the changes that are not folded into it yet are exact together, so that a filter by one value, the
domains and the systems need no row of `signals` to be counted.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Final

from services.signals.repository_filters import Conditions, SignalFilters
from services.signals.repository_search import Search
from shared.db import AnySession, raw_connection

_FACETS: Final = {
    "facility": "facility",
    "service_line": "service_line",
    "sub_service_line": "sub_service_line",
    "metric_id": "metric_id",
    "signal_type": "signal_type",
    "magnitude_tier": "magnitude_tier",
    "status": "status",
    "assignee_id": "assignee_id",
}
"""Filters by value, and what the counts call them."""
_EVERYWHERE: Final = {"domain", "system_name"}
"""Filters by what is a column of every count."""


async def counted(session: AnySession, filters: SignalFilters) -> int | None:
    """How many signals match, where the counts know it without looking at one."""
    known = _counted(filters)
    if known is None:
        return None
    return await _sum(session, known)


async def at_least(session: AnySession, filters: SignalFilters, found_by: Search | None) -> int:
    """So many signals match for sure, as far as the counts tell: enough to know that a total is beyond its cap.

    Counting the rows themselves up to the cap is slowest where there are many of them.
    """
    given = _given(filters)
    if found_by is not None and given == {"q"}:
        return found_by.at_least
    if given - _EVERYWHERE != {"min_severity"}:
        return 0
    bands = _within(filters)
    # A band's value is its lowest severity; the values of other facets are no numbers.
    bands.add(
        "facet = 'severity' AND CASE facet WHEN 'severity' THEN CAST(value AS integer) >= {} END", filters.min_severity
    )
    return await _sum(session, bands)


def _counted(filters: SignalFilters) -> Conditions | None:
    """The filters as conditions on the counts; None where they do not know."""
    found = _within(filters)
    one = _given(filters) - _EVERYWHERE
    if not one:
        found.add("facet = 'signal'")
    elif one == {"unassigned"}:
        found.add(f"facet = 'assignee_id' AND value IS {'' if filters.unassigned else 'NOT '}NULL")
    elif one == {"facility_id"}:
        found.add("facet = 'facility' AND detail = ANY({}::text[])", list(filters.facility_id))
    elif one == {"dimensions"} and len(filters.dimensions) == 1:
        [(name, values)] = filters.dimensions.items()
        _with_value(found, "dimension", values)
        found.add("detail = {}", name)
    elif len(one) == 1 and (name := one.pop()) in _FACETS:
        _with_value(found, _FACETS[name], [str(value) for value in getattr(filters, name)])
    else:
        return None
    return found


def _within(filters: SignalFilters) -> Conditions:
    found = Conditions()
    found.any_of("domain", "signal_domain", filters.domain)
    found.any_of("system_name", "text", filters.system_name)
    return found


async def _sum(session: AnySession, counts: Conditions) -> int:
    connection = await raw_connection(session)
    where = counts.where
    found: int = await connection.fetchval(
        f"SELECT CAST(COALESCE((SELECT sum(count) FROM option_counts WHERE {where}), 0)"  # noqa: S608 - constants
        f" + COALESCE((SELECT sum(delta) FROM option_deltas WHERE {where}), 0) AS bigint)",
        *counts.values,
    )
    return found


def _given(filters: SignalFilters) -> set[str]:
    given = {field.name for field in fields(filters) if _is_given(getattr(filters, field.name))}
    return given | {"unassigned"} if filters.unassigned is False else given


def _is_given(value: object) -> bool:
    return value is not None and value is not False and value not in ((), [], {})


def _with_value(found: Conditions, facet: str, values: Sequence[str]) -> None:
    # By the hash that the index holds; values may be longer than an index takes.
    found.add(
        f"facet = '{facet}' AND value = ANY({{0}}::text[]) AND hashtextextended(value, 0)"  # noqa: S608 - a constant
        " = ANY(ARRAY(SELECT hashtextextended(each, 0) FROM unnest({0}::text[]) AS each))",
        list(dict.fromkeys(values)),
    )
