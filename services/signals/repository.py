"""The SQL of reading signals. Rows become JSON in the database: Python would only take them apart and together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from services.signals.repository_filters import (
    NULLABLE,
    SORT_COLUMNS,
    Conditions,
    SignalFilters,
    Sort,
    SortOrder,
    conditions,
    names_in_order,
)
from services.signals.repository_search import Search
from shared.db import AnySession, raw_connection

# Rows of a sort that are looked at for conditions that few may meet, before the indexes on those are asked.
_WALKED: Final = 1000
_WALKED_PER_SKIPPED: Final = 3
# So many are read and sorted rather than looked for in the order of a sort.
FEW: Final = 20_000

_DAYS_OPEN: Final = (
    "GREATEST(0, floor(extract(epoch FROM COALESCE(s.closed_at, now()) - s.detected_at) / 86400))::int AS days_open"
)


def _person(column: str, name: str) -> str:
    return f"""
        CASE WHEN s.{column} IS NOT NULL THEN json_build_object(
            'id', s.{column}, 'name', (SELECT u.name FROM users AS u WHERE u.id = s.{column})) END AS {name}"""  # noqa: S608


_LISTED: Final = (
    *("id", "entity_id", "is_current", "canonical_node_id", "metric_id", "domain", "facility", "facility_id"),
    *("system_name", "service_line", "sub_service_line", "description", "metric_value", "peer_mean", "peer_std"),
    *("percentile_rank", "encounters", "detected_at", "created_at", "updated_at", "simplified_signal_type"),
    *("simplified_severity", "entity_dimensions", "groupby_label", "group_value", "metric_trend_timeline"),
    *("trend_direction", "annual_excess_cost", "excess_los_days", "capacity_impact_bed_days"),
    *("expected_metric_value", "why_matters_narrative", "polarity", "magnitude_tier", "trajectory_tier"),
    *("consistency_tier", "workflow_status"),
)
_DETAILED: Final = (
    *("simplified_severity_range", "simplified_inputs", "simplified_indicators", "simplified_reasoning"),
    *("simplified_severity_calculation", "entity_dimensions_hash", "temporal_node_id", "metadata_per_period"),
    *("peer_percentile_trends", "extra", "period_count", "suppressed", "engine_classified", "previous_signal_id"),
    *("description_edited_at", "narrative_edited_at"),
)
_ITEM: Final = (
    "(SELECT row_to_json(item) FROM (SELECT "  # noqa: S608 - names of columns
    + ", ".join(f"s.{name}" for name in _LISTED)
    + f", {_person('assignee_id', 'assignee')}, {_DAYS_OPEN}) AS item)::text AS item"
)
_DETAIL: Final = (
    "SELECT s.event_sequence, s.workflow_sequence, s.is_current, (SELECT row_to_json(item) FROM (SELECT "  # noqa: S608
    + ", ".join(f"s.{name}" for name in (*_LISTED, *_DETAILED))
    + f", {_person('assignee_id', 'assignee')}, {_person('description_edited_by', 'description_edited_by')}"
    + f", {_person('narrative_edited_by', 'narrative_edited_by')}, {_DAYS_OPEN}"
    + """, CASE WHEN s.is_current THEN s.id ELSE (
            SELECT c.id FROM signals AS c WHERE c.entity_id = s.entity_id AND c.is_current) END AS current_signal_id,
        COALESCE((SELECT json_agg(insight) FROM (
            SELECT i.id, i.title, i.text, i.confidence, i.received_at FROM insights AS i WHERE i.signal_id = s.id
            ORDER BY i.received_at DESC, i.id DESC LIMIT 5) AS insight), '[]') AS insights,
        json_build_object('history', '/api/signals/' || s.id || '/history', 'parent', '/api/signals/' || s.id
        || '/parent', 'children', '/api/signals/' || s.id || '/children', 'insights', '/api/signals/' || s.id
        || '/insights') AS links) AS item)::text AS item
    FROM signals AS s WHERE s.id = $1"""
)


@dataclass(frozen=True, slots=True)
class Row:
    """A signal of a page: its JSON, and its place in the sort: the values of the sort's columns."""

    item: str
    place: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: after a row with this place in the sort, or after a number of rows."""

    after: tuple[Any, ...] | None = None
    offset: int = 0


async def page(
    session: AnySession,
    filters: SignalFilters,
    sort: Sort,
    order: SortOrder,
    place: Place,
    rows: int,
    known: int | None = None,
    found_by: Search | None = None,
) -> list[Row]:
    """Up to so many rows after a place. Equal keys are in the order of detection and id; missing ones are last.

    ``known`` is how many match in all, where that is known, or that they are more than FEW; it decides only how they
    are looked for. ``found_by`` is what the filter ``q`` stands for.
    """
    matching, sparse = conditions(filters, sort)
    if found_by is not None:
        found_by.add_to(sparse)
    if known is not None and known > FEW:
        matching.also(sparse)
        sparse = Conditions()
    matching.also(names_in_order(filters, sort))
    if sort is not NULLABLE:
        return await _part(session, matching, sparse, sort, order, place, rows, known)
    column = SORT_COLUMNS[sort][0]
    found: list[Row] = []
    skip = place.offset
    present = matching.copy()
    present.add(f"s.{column} IS NOT NULL")
    if place.after is None or place.after[0] is not None:
        found = await _part(session, present, sparse, sort, order, place, rows, known)
        if len(found) == rows:
            return found
        if found or not skip:
            skip = 0
        else:
            present.also(sparse)
            skip -= await _count(session, present, skip)
    after = place if place.after is not None and place.after[0] is None else Place(offset=skip)
    missing = matching.copy()
    missing.add(f"s.{column} IS NULL")
    return found + await _part(session, missing, sparse, sort, order, after, rows - len(found), known)


async def count(session: AnySession, filters: SignalFilters, found_by: Search | None, most: int) -> int:
    """How many signals match, at most so many."""
    matching, sparse = conditions(filters, Sort.DETECTED_AT)
    matching.also(sparse)
    if found_by is not None:
        found_by.add_to(matching)
    return await _count(session, matching, most)


async def detail(session: AnySession, signal_id: UUID) -> tuple[str, str] | None:
    """A signal with everything as JSON, and its entity tag."""
    connection = await raw_connection(session)
    record = await connection.fetchrow(_DETAIL, signal_id) or await connection.fetchrow(_archived(_DETAIL), signal_id)
    if record is None:
        return None
    return record["item"], etag(record["event_sequence"], record["workflow_sequence"], record["is_current"])


async def earlier(session: AnySession, signal_id: UUID, before: datetime | None, rows: int) -> list[Row] | None:
    """Detections of the signal's entity that are older than it (and than `before`); None without the signal."""
    connection = await raw_connection(session)
    which = "SELECT s.entity_id, s.detected_at FROM signals AS s WHERE s.id = $1"
    found = await connection.fetchrow(f"{which} UNION ALL {_archived(which)}", signal_id)
    if found is None:
        return None
    # What is older than any other detection is not the current one, which is what the index on history is limited to.
    history = (
        f"SELECT {_ITEM}, s.detected_at AS key, s.id FROM signals AS s "  # noqa: S608 - constants
        "WHERE s.entity_id = $1 AND NOT s.is_current AND s.detected_at < $2 "
        f"ORDER BY s.detected_at DESC LIMIT {rows:d}"
    )
    records = await connection.fetch(
        f"({history}) UNION ALL ({_archived(history)}) ORDER BY key DESC LIMIT {rows:d}",
        found["entity_id"],
        found["detected_at"] if before is None else min(before, found["detected_at"]),
    )
    return [Row(record["item"], (record["key"],)) for record in records]


def _archived(statement: str) -> str:
    """The same statement about what has been moved into the archive."""
    return statement.replace("FROM signals AS s ", "FROM archived_signals AS s ").replace(
        "FROM signals AS base ", "FROM archived_signals AS base "
    )


_FAMILY: Final = """
    FROM signals AS base JOIN signals AS s
        ON s.is_current AND s.id <> base.id AND s.metric_id = base.metric_id AND s.facility = base.facility
        AND s.facility_id IS NOT DISTINCT FROM base.facility_id
"""
_NAMES_OF: Final = "(SELECT count(*) FROM jsonb_object_keys(COALESCE({0}.entity_dimensions, '{{}}')))"
_CHILDREN: Final = f"""
    SELECT {_ITEM}, s.simplified_severity AS key, s.id {_FAMILY}
    WHERE base.id = $1 AND s.entity_dimensions @> COALESCE(base.entity_dimensions, '{{}}')
        AND {_NAMES_OF.format("s")} = {_NAMES_OF.format("base")} + 1
    ORDER BY s.simplified_severity DESC NULLS LAST, s.id DESC LIMIT $2
"""
_PARENT: Final = f"""
    SELECT {_ITEM}, s.simplified_severity AS key, s.id {_FAMILY}
    WHERE base.id = $1 AND base.entity_dimensions @> s.entity_dimensions
        AND {_NAMES_OF.format("s")} = {_NAMES_OF.format("base")} - 1
    ORDER BY s.entity_dimensions, s.id LIMIT 1
"""
_RELATED: Final = f"""
    SELECT {_ITEM}, s.simplified_severity AS key, s.id
    FROM signals AS base JOIN signals AS s
        ON s.is_current AND s.facility = base.facility AND s.facility_id IS NOT DISTINCT FROM base.facility_id
        AND s.service_line = base.service_line AND s.metric_id <> base.metric_id
    WHERE base.id = $1
    ORDER BY s.simplified_severity DESC NULLS LAST, s.id DESC LIMIT $2
"""  # noqa: S608 - constants


async def children(session: AnySession, signal_id: UUID, rows: int) -> list[Row]:
    """Current signals with the signal's dimensions and one more, of the same metric and facility; worst first."""
    return await _relatives(session, _CHILDREN, signal_id, rows)


async def parent(session: AnySession, signal_id: UUID) -> Row | None:
    """The current signal with all of the signal's dimensions but one; of several the first by its dimensions."""
    return next(iter(await _relatives(session, _PARENT, signal_id)), None)


async def related(session: AnySession, signal_id: UUID, rows: int) -> list[Row]:
    """Current signals of the same facility and service line in other metrics; worst first."""
    return await _relatives(session, _RELATED, signal_id, rows)


async def _relatives(session: AnySession, statement: str, *parameters: Any) -> list[Row]:
    connection = await raw_connection(session)
    records = await connection.fetch(statement, *parameters)
    if not records:
        records = await connection.fetch(_archived(statement), *parameters)
    return [Row(record["item"]) for record in records]


async def exists(session: AnySession, signal_id: UUID) -> bool:
    """Whether there is such a signal."""
    connection = await raw_connection(session)
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM signals WHERE id = $1) OR EXISTS (SELECT FROM archived_signals WHERE id = $1)",
        signal_id,
    )
    return found


async def fields(session: AnySession, signal_id: UUID, names: Sequence[str]) -> dict[str, Any] | None:
    """Some columns of a signal as they stand in JSON; None without the signal."""
    connection = await raw_connection(session)
    columns = ", ".join(f"s.{name}" for name in names)
    statement = (
        f"SELECT (SELECT row_to_json(item) FROM (SELECT {columns}) AS item)::text FROM signals AS s WHERE s.id = $1"  # noqa: S608
    )
    found = await connection.fetchval(statement, signal_id)
    if found is None:
        found = await connection.fetchval(_archived(statement), signal_id)
    return None if found is None else msgspec.json.decode(found, type=dict[str, Any])


def etag(event_sequence: int, workflow_sequence: int, is_current: bool) -> str:
    """The version of a signal as its readers see it: its own events, those of its workflow, and whether it leads."""
    return f'"{event_sequence}.{workflow_sequence}.{int(is_current)}"'


async def _count(session: AnySession, matching: Conditions, most: int) -> int:
    connection = await raw_connection(session)
    found: int = await connection.fetchval(
        f"SELECT count(*) FROM (SELECT FROM signals AS s WHERE {matching.where} LIMIT {most:d}) AS found",  # noqa: S608
        *matching.values,
    )
    return found


async def _part(
    session: AnySession,
    matching: Conditions,
    sparse: Conditions,
    sort: Sort,
    order: SortOrder,
    place: Place,
    rows: int,
    known: int | None,
) -> list[Row]:
    columns = SORT_COLUMNS[sort]
    chosen = matching.copy()
    if place.after is not None:
        pairs = list(zip(columns, place.after, strict=True))
        if place.after[0] is None:
            del pairs[0]
        beyond = "<" if order is SortOrder.DESC else ">"
        row, values = ", ".join(f"s.{name}" for name, _ in pairs), ", ".join("{}" for _ in pairs)
        chosen.add(f"({row}) {beyond} ({values})", *(value for _, value in pairs))
    nulls = "" if sort is not NULLABLE else "NULLS LAST" if order is SortOrder.DESC else "NULLS FIRST"
    ordered = ", ".join(f"s.{name} {order} {nulls if number == 0 else ''}" for number, name in enumerate(columns))
    limits = f"LIMIT {rows:d} OFFSET {place.offset:d}"
    connection = await raw_connection(session)

    async def read(source: str, where: Conditions) -> list[Row]:
        records = await connection.fetch(
            f"SELECT {_ITEM}, {', '.join(f's.{name}' for name in columns)} FROM {source} AS s "  # noqa: S608 - constants
            f"WHERE {where.where} ORDER BY {ordered} {limits}",
            *where.values,
        )
        return [Row(record["item"], tuple(record)[1:]) for record in records]

    if not sparse.parts:
        return await read("signals", chosen)
    # What many signals have is soon met in the order of the sort, what few have is found by its own index. The planner
    # cannot know which it is, and is a thousand times too slow where it takes the one for the other.
    if known is None:
        walked = Conditions(values=list(chosen.values))
        walked.also(sparse)
        first = _WALKED + place.offset * _WALKED_PER_SKIPPED
        met = await read(
            f"(SELECT * FROM signals AS s WHERE {chosen.where} ORDER BY {ordered} LIMIT {first:d})",  # noqa: S608
            walked,
        )
        if len(met) == rows:
            return met
    chosen.also(sparse)
    source = f"(SELECT * FROM signals AS s WHERE {chosen.where} OFFSET 0)"  # noqa: S608 - OFFSET 0 keeps the limit out
    return await read(source, Conditions(values=chosen.values))


CURSORS: Final[dict[Sort, Any]] = {
    Sort.DETECTED_AT: tuple[Sort, SortOrder, datetime, UUID],
    Sort.PRIORITY: tuple[Sort, SortOrder, int | None, datetime, UUID],
    Sort.METRIC_ID: tuple[Sort, SortOrder, str, datetime, UUID],
    Sort.FACILITY: tuple[Sort, SortOrder, str, datetime, UUID],
}
"""What a cursor holds: the sort, and the place of the page's last row in it."""
