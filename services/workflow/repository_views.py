"""SQL of assignments as the API shows them: each look is one statement, and so of one moment."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from services.workflow.repository import ClosedAt
from shared.db import AnySession, raw_connection
from shared.events.vocabulary import AssignmentStatus, RoleType
from shared.events.workflow import ResolutionReason


class AssignmentRow(NamedTuple):
    """What is shown of an `Assignment`, by the names of its columns; of `UNTOUCHED` signals too."""

    status: AssignmentStatus
    role_type: RoleType | None
    resolution_reason: ResolutionReason | None
    id: UUID | None
    assignee_id: UUID | None
    assigner_id: UUID | None
    resolved_by: UUID | None
    snoozed_by: UUID | None
    rule_id: UUID | None
    rule_version: int | None
    notes: str | None
    resolution_notes: str | None
    assigned_at: datetime | None
    started_at: datetime | None
    resolved_at: datetime | None
    closed_at: datetime | None
    due_at: datetime | None
    snoozed_until: datetime | None
    snoozed_severity: int | None
    snoozed_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    version: int


UNTOUCHED: Final = AssignmentRow(AssignmentStatus.NEW, **dict.fromkeys(AssignmentRow._fields[1:-1]), version=0)
"""What is shown of a signal that nobody has touched."""


class SignalRow(NamedTuple):
    """What is shown of a `KnownSignal`, by the names of its columns."""

    signal_id: UUID
    entity_id: UUID
    metric_id: str
    facility: str
    facility_id: str | None
    system_name: str | None
    service_line: str
    group_value: str | None
    description: str
    signal_type: str
    severity: int
    detected_at: datetime


class Look(NamedTuple):
    """A signal with the assignment that it shows, and all that belongs to it at that moment."""

    signal: SignalRow
    assignment: AssignmentRow
    superseded_by: UUID | None
    names: Mapping[UUID, str]
    """Of those whom the assignment names and who were heard of."""
    closed: list[ClosedAt]
    """The closed assignments of the entity."""
    at: datetime
    """The moment, by the database's clock, by which lists and counts judge what is overdue."""


_ENUMS: Final = AssignmentRow._fields[:3]
_OTHERS: Final = AssignmentRow._fields[3:]
_PEOPLE: Final = {name: f"{name}_name" for name in ("assignee_id", "assigner_id", "resolved_by", "snoozed_by")}

COLUMNS: Final = ", ".join(
    (
        *(f"a.{name}::text" for name in _ENUMS),
        *(f"a.{name}" for name in _OTHERS),
        *(f"s.{name}" for name in SignalRow._fields),
        *(
            f"(SELECT u.name FROM known_users AS u WHERE u.user_id = a.{person}) AS {called}"  # noqa: S608
            for person, called in _PEOPLE.items()
        ),
        """CASE WHEN NOT s.is_current THEN (
            SELECT c.signal_id FROM known_signals AS c WHERE c.entity_id = s.entity_id AND c.is_current
        ) END AS superseded_by""",
        """(SELECT json_agg(json_build_array(done.entity_id, done.signal_id, done.closed_at, past.detected_at))
            FROM assignments AS done JOIN known_signals AS past ON past.signal_id = done.signal_id
            WHERE done.entity_id = s.entity_id AND done.status = 'closed')::text AS closed""",
        "statement_timestamp() AS at",
    )
)
"""What `look` needs of ``assignments AS a`` and ``known_signals AS s``."""

# A signal shows the assignment at it, or where it is superseded and has none, the one that left it last. The array
# keeps the planner from looking for the last one along the primary key.
_SHOWN: Final = f"""
    SELECT {COLUMNS} FROM known_signals AS s LEFT JOIN assignments AS a ON a.id = COALESCE(
        (SELECT here.id FROM assignments AS here WHERE here.signal_id = s.signal_id),
        CASE WHEN NOT s.is_current THEN (
            SELECT (array_agg(gone.assignment_id ORDER BY gone.id DESC))[1]
            FROM assignment_transitions AS gone WHERE gone.signal_id = s.signal_id
        ) END
    )
    WHERE s.signal_id = $1
"""  # noqa: S608 - constants

_decode_closed: Final = msgspec.json.Decoder(list[ClosedAt]).decode


async def shown(session: AnySession, signal_id: UUID) -> Look | None:
    """A signal and the assignment that it shows; None for a signal that was not heard of."""
    connection = await raw_connection(session)
    record = await connection.fetchrow(_SHOWN, signal_id)
    return None if record is None else look(record)


def look(record: Any) -> Look:
    """What a row with `COLUMNS` says."""
    values = tuple(record)
    signal = values[len(AssignmentRow._fields) :][: len(SignalRow._fields)]
    closed = record["closed"]
    return Look(
        SignalRow(*signal),
        _assignment(values),
        record["superseded_by"],
        {record[person]: name for person, called in _PEOPLE.items() if (name := record[called]) is not None},
        [] if closed is None else _decode_closed(closed),
        record["at"],
    )


def _assignment(values: tuple[Any, ...]) -> AssignmentRow:
    """The assignment that a row begins with."""
    status, role_type, reason = values[: len(_ENUMS)]
    if status is None:
        return UNTOUCHED
    return AssignmentRow(
        AssignmentStatus(status),
        None if role_type is None else RoleType(role_type),
        None if reason is None else ResolutionReason(reason),
        *values[len(_ENUMS) : len(AssignmentRow._fields)],
    )
