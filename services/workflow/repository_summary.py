"""SQL of the workload view."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from services.workflow.repository_filters import OVERDUE, is_any, is_anybody
from shared.db import AnySession, Values, raw_connection
from shared.events.vocabulary import AssignmentStatus, RoleType

# What GROUPING answers where a row is of one person, of one role, and of all.
_BY_PERSON: Final = 0b01
_BY_ROLE: Final = 0b10
_EVERYTHING: Final = 0b11


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which assignments, and from when to when (not itself) they were assigned and resolved; empty for all."""

    since: datetime
    until: datetime
    assignee_ids: Sequence[UUID] = ()
    role_types: Sequence[RoleType] = ()


class Share(NamedTuple):
    """What a figure is about: a person, a role, or with neither, everything."""

    assignee_id: UUID | None
    role_type: RoleType | None


class Standing(NamedTuple):
    """What is open at this moment, of one person in one role at one status."""

    assignee_id: UUID | None
    role_type: RoleType | None
    status: AssignmentStatus
    open: int
    overdue: int
    snoozed: int


class Pace(NamedTuple):
    """How many took a step within the window, and the median time to it; None where none of them tells."""

    share: Share
    number: int
    median: timedelta | None


class Workload(NamedTuple):
    """All that is to be told, as of one moment."""

    standings: Sequence[Standing]
    """What is not closed."""
    assigned: Sequence[Pace]
    """From when a signal was heard of to its assignment, for what was assigned within the window."""
    resolved: Sequence[Pace]
    """From the assignment to its resolution, for what was resolved within the window."""
    names: Mapping[UUID, str]
    """Of those of the assignees who were heard of."""


_STANDINGS: Final = f"""
    SELECT 'standing' AS about, a.assignee_id, a.role_type::text AS role_type, a.status::text AS status,
        NULL::integer AS level, count(*) AS number, count(*) FILTER (WHERE {OVERDUE}) AS overdue,
        count(a.snoozed_at) AS snoozed, NULL::float8 AS median
    FROM assignments AS a WHERE a.status <> 'closed' {{wanted}}
    GROUP BY a.assignee_id, a.role_type, a.status
"""  # noqa: S608 - a constant
# Not EXTRACT, which answers a numeric: sorting those takes several times as long.
_PACES: Final = """
    SELECT '{about}', a.assignee_id, a.role_type::text, NULL, grouping(a.assignee_id, a.role_type), count(*), 0, 0,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY date_part('epoch', a.{end} - a.{begin}))
    FROM assignments AS a WHERE a.{end} >= $1 AND a.{end} < $2 {wanted}
    GROUP BY GROUPING SETS ((a.assignee_id), (a.role_type), ())
"""


async def workload(session: AnySession, window: Window) -> Workload:
    """What is open at this moment, and the pace of the window."""
    values = Values([window.since, window.until])
    wanted = ""
    if window.assignee_ids:
        wanted += f" AND {is_anybody('assignee_id', window.assignee_ids, values)}"
    if window.role_types:
        wanted += f" AND {is_any('role_type', window.role_types)}"
    parts = (
        _STANDINGS.format(wanted=wanted),
        _PACES.format(about="assigned", begin="opened_at", end="assigned_at", wanted=wanted),
        _PACES.format(about="resolved", begin="assigned_at", end="resolved_at", wanted=wanted),
    )
    connection = await raw_connection(session)
    records = await connection.fetch(
        "SELECT found.*, (SELECT u.name FROM known_users AS u WHERE u.user_id = found.assignee_id) AS name "  # noqa: S608
        f"FROM ({' UNION ALL '.join(parts)}) AS found",
        *values,
    )
    return Workload(
        [_standing(record) for record in records if record["about"] == "standing"],
        [pace for record in records if record["about"] == "assigned" and (pace := _pace(record))],
        [pace for record in records if record["about"] == "resolved" and (pace := _pace(record))],
        {record["assignee_id"]: record["name"] for record in records if record["name"] is not None},
    )


def _standing(record: Any) -> Standing:
    return Standing(
        record["assignee_id"],
        _role_type(record),
        AssignmentStatus(record["status"]),
        record["number"],
        record["overdue"],
        record["snoozed"],
    )


def _pace(record: Any) -> Pace | None:
    """Whose figures a row holds, by GROUPING's bits (set: not grouped by); None for nobody's and no role's."""
    level = record["level"]
    share = Share(
        record["assignee_id"] if level == _BY_PERSON else None, _role_type(record) if level == _BY_ROLE else None
    )
    if level != _EVERYTHING and share == Share(None, None):
        return None
    seconds = record["median"]
    return Pace(share, record["number"], None if seconds is None else timedelta(seconds=seconds))


def _role_type(record: Any) -> RoleType | None:
    role_type = record["role_type"]
    return None if role_type is None else RoleType(role_type)
