"""Conditions of the statements that read assignments, as SQL about ``assignments AS a``."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final
from uuid import UUID

from shared.db import Values
from shared.events.vocabulary import AssignmentStatus

WORKED_ON: Final = (AssignmentStatus.ASSIGNED, AssignmentStatus.IN_PROGRESS)


def is_any(column: str, values: Sequence[StrEnum]) -> str:
    """The column has one of the values. They are written out: so the planner knows how frequent each of them is."""
    return f"a.{column} IN ({', '.join(repr(value.value) for value in values)})"


def is_anybody(column: str, people: Sequence[UUID], values: Values) -> str:
    """The column names one of the people. One is compared with alone, so that an index has the rows in their order."""
    if len(people) == 1:
        return f"a.{column} = {values.put(people[0])}"
    return f"a.{column} = ANY({values.put(people)}::uuid[])"


OVERDUE: Final = (
    f"({is_any('status', WORKED_ON)} AND a.due_at <= statement_timestamp() "
    "AND NOT (a.snoozed_at IS NOT NULL AND (a.snoozed_until IS NULL OR a.snoozed_until > statement_timestamp())))"
)
"""Worked on past the due date, and not put aside; unknown for what has no due date. By the database's clock: beside a
parameter the planner does not know how few are overdue, and searches them all."""
