"""Command: after the database was restored from a backup, take in again what came since, and agree with Kafka.

    python -m services.workflow.after_restore --since 2026-11-23T02:00:00Z

The service has to be stopped. What it did by itself about signals that came since the backup (carried an assignment
over, assigned by a rule, reopened) comes about again under the numbers that it had. What people did since is lost, and
printed: assignments, moves, comments, interventions, rules. Other services are told what the assignments are now; of
one that is gone, that nobody has it. Run again, it finds nothing left to do.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository, repository_snapshot
from services.workflow.consumers import subscriptions
from services.workflow.service_events import state
from services.workflow.service_views import people_of
from services.workflow.settings import WorkflowSettings
from services.workflow.snapshot import assignment_snapshot
from shared import outbox
from shared.events import workflow as contracts
from shared.events.vocabulary import AssignmentStatus
from shared.events.workflow import AssignmentChanged, AssignmentReason, AssignmentState, SignalLabel
from shared.kafka import Subscription
from shared.outbox import Event
from shared.restoring import Restoration, Told, main, raise_numbers

_encode: Final = msgspec.json.Encoder().encode


class _Assigned(Struct):
    """What every event with an assignment's state has."""

    assignment: AssignmentState
    label: SignalLabel


class WorkflowRestoration(Restoration[WorkflowSettings]):
    """Assignments; rules, comments and interventions have numbers only, since nobody keeps copies of them."""

    events = contracts.EVENTS
    states = (contracts.AssignmentChanged, contracts.StatusChanged)

    @property
    def consumed(self) -> Sequence[Subscription]:
        """Users first: rules assign signals to them."""
        return sorted(subscriptions(self.settings), key=lambda one: one.group != "workflow.users")

    async def mend(self, session: AsyncSession, told: Sequence[Told]) -> int:
        """Tell the assignments of these signals where they are others than was told, or gone."""
        subjects = [one.subject for one in told]
        await repository_snapshot.lock_these_signals(session, subjects)
        await raise_numbers(session, told)
        present = {one.assignment.signal_id: one for one in await repository_snapshot.assignments(session, subjects)}
        names = await repository.names_of(session, people_of(one.assignment for one in present.values()))
        heard = {one.subject: one.state.data_as(_Assigned) for one in told if one.state is not None}
        kept = await repository_snapshot.existing(session, {one.assignment.assignment_id for one in heard.values()})
        events: list[Event] = []
        for one in told:
            was, now = heard.get(one.subject), present.get(one.subject)
            if now is not None:
                if was is None or _encode(was.assignment) != _encode(state(now.assignment, names)):
                    events.append(assignment_snapshot(now, names))
            elif was is not None and was.assignment.assignment_id not in kept:
                # One that is kept stands at another detection by now, whose event tells that it left this one.
                nobody = _nobody(was.assignment)
                if was.assignment != nobody:
                    events.append(_snapshot_of_none(one, nobody, was.label))
        await outbox.publish(session, *events)
        return len(events)


def _nobody(gone: AssignmentState) -> AssignmentState:
    """As if nobody had ever touched the signal."""
    return AssignmentState(
        assignment_id=gone.assignment_id,
        signal_id=gone.signal_id,
        entity_id=gone.entity_id,
        status=AssignmentStatus.NEW,
        assignee=None,
        assigner=None,
        role_type=None,
        notes=None,
        resolution_notes=None,
    )


def _snapshot_of_none(told: Told, assignment: AssignmentState, label: SignalLabel) -> Event:
    return Event(
        type=contracts.ASSIGNMENT_SNAPSHOT,
        subject=told.subject,
        key=assignment.entity_id,
        sequence=told.sequence,
        data=AssignmentChanged(assignment=assignment, label=label, reason=AssignmentReason.SNAPSHOT),
    )


if __name__ == "__main__":
    raise SystemExit(main("workflow", WorkflowSettings, WorkflowRestoration))
