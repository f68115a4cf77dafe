"""Command: publish the present state of all assignments and ownership rules, for a consumer that came late.

    python -m services.workflow.snapshot
    python -m services.workflow.snapshot --part rules

The service has to run: it relays what this puts into the outbox.
"""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository, repository_snapshot
from services.workflow.repository_snapshot import ToldAssignment
from services.workflow.service_events import label, state
from services.workflow.service_events_rules import rule_state
from services.workflow.service_views import people_of
from services.workflow.settings import WorkflowSettings
from shared.events.workflow import ASSIGNMENT_SNAPSHOT, RULE_SNAPSHOT, AssignmentChanged, AssignmentReason
from shared.outbox import Event
from shared.snapshots import Page, Part, main


async def _read_assignments(session: AsyncSession, after: str | None, rows: int) -> Page:
    locked = await repository_snapshot.lock_signals(session, UUID(after) if after else None, rows)
    found = await repository_snapshot.assignments(session, locked)
    names = await repository.names_of(session, people_of(told.assignment for told in found))
    events = [assignment_snapshot(told, names) for told in found]
    return Page(events, str(locked[-1]) if len(locked) == rows else None)


def assignment_snapshot(told: ToldAssignment, names: Mapping[UUID, str]) -> Event:
    """The present state of an assignment."""
    return Event(
        type=ASSIGNMENT_SNAPSHOT,
        subject=told.signal.signal_id,
        key=told.signal.entity_id,
        sequence=told.sequence,
        data=AssignmentChanged(
            assignment=state(told.assignment, names), label=label(told.signal), reason=AssignmentReason.SNAPSHOT
        ),
    )


async def _read_rules(session: AsyncSession, after: str | None, rows: int) -> Page:
    found = await repository_snapshot.lock_rules(session, UUID(after) if after else None, rows)
    names = await repository.names_of(session, {told.rule.assignee_id for told in found})
    events = [
        Event(
            type=RULE_SNAPSHOT,
            subject=told.rule.id,
            key=told.rule.id,
            sequence=told.sequence,
            data=rule_state(told.rule, names),
        )
        for told in found
    ]
    return Page(events, str(found[-1].rule.id) if len(found) == rows else None)


PARTS: Final = (
    Part("assignments", _read_assignments, repository_snapshot.count_assignments),
    Part("rules", _read_rules, repository_snapshot.count_rules),
)

if __name__ == "__main__":
    raise SystemExit(main("workflow", WorkflowSettings, PARTS))
