"""What a detection means for the work on its entity: carried over, reopened, or nothing.

The order of arrival decides nothing. An entity's current detection here is the latest by `detected_at`; its open
assignment always stands at the current one. So a detection that comes late, again, or after a newer one moves nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository, repository_copies, service_events
from services.workflow.models import Assignment, AssignmentTransition, KnownSignal, TransitionKind
from services.workflow.repository_copies import Standing
from shared import outbox
from shared.events.signals import SignalState
from shared.events.vocabulary import AssignmentStatus
from shared.outbox import Event


class Sighting(NamedTuple):
    """What one event says of a detection.

    ``was_current`` is false for one that came as history: it may be the only detection known here for a while, but it
    never takes the place of another.
    """

    signal: SignalState
    sequence: int
    was_current: bool


class _Promotion(NamedTuple):
    superseded: UUID
    current: UUID
    entity_id: UUID


@dataclass(slots=True)
class _Changes:
    """Where detections stand after a batch, and how that came about, in order."""

    standings: dict[UUID, Standing]
    current: dict[UUID, Standing]
    news: dict[UUID, SignalState] = field(default_factory=dict)
    touched: set[UUID] = field(default_factory=set)
    promotions: list[_Promotion] = field(default_factory=list)

    def take(self, sighting: Sighting) -> None:
        signal = sighting.signal
        known = self.standings.get(signal.signal_id)
        present = self.current.get(signal.entity_id)
        standing = Standing(
            signal.signal_id,
            signal.entity_id,
            signal.detected_at,
            is_current=known.is_current if known else present is None,
            was_current=sighting.was_current or (known is not None and known.was_current),
            sequence=max(sighting.sequence, known.sequence if known else 0),
        )
        if known is None or sighting.sequence > known.sequence:
            self.news[signal.signal_id] = signal
        if present is not None and standing.was_current and signal.detected_at > present.detected_at:
            self._put(present._replace(is_current=False))
            standing = standing._replace(is_current=True)
            self.promotions.append(_Promotion(present.signal_id, signal.signal_id, signal.entity_id))
        if standing != known:
            self._put(standing)

    def _put(self, standing: Standing) -> None:
        self.standings[standing.signal_id] = standing
        self.touched.add(standing.signal_id)
        if standing.is_current:
            self.current[standing.entity_id] = standing


async def observe(session: AsyncSession, sightings: Sequence[Sighting]) -> None:
    """Take in what was heard of detections, in this order, with all that follows for assignments."""
    if not sightings:
        return
    current = await repository_copies.lock_current(session, {sighting.signal.entity_id for sighting in sightings})
    known = await repository_copies.standings(session, {sighting.signal.signal_id for sighting in sightings})
    changes = _Changes(known | {standing.signal_id: standing for standing in current.values()}, current)
    for sighting in sightings:
        changes.take(sighting)
    await _store(session, changes)
    if changes.promotions:
        await _follow(session, changes.promotions)


async def _store(session: AsyncSession, changes: _Changes) -> None:
    touched = [changes.standings[signal_id] for signal_id in sorted(changes.touched)]
    if changes.promotions:
        await repository_copies.demote(session, [standing.signal_id for standing in touched if not standing.is_current])
    if changes.news:
        heard = [(changes.news[signal_id], changes.standings[signal_id]) for signal_id in sorted(changes.news)]
        await repository_copies.store_signals(session, heard)
    if old := [standing for standing in touched if standing.signal_id not in changes.news]:
        await repository_copies.set_standing(session, old)


async def _follow(session: AsyncSession, promotions: Sequence[_Promotion]) -> None:
    """Let the work of each entity follow to its newer detections, one after the other."""
    assignments = await repository.lock_assignments(session, {promotion.entity_id for promotion in promotions})
    if not assignments:
        return
    at = {assignment.signal_id: assignment for assignment in assignments}
    people = {
        user_id
        for assignment in assignments
        for user_id in (assignment.assignee_id, assignment.assigner_id, assignment.resolved_by)
        if user_id
    }
    names = await repository.names_of(session, people)
    signals = await repository_copies.signals(session, {promotion.current for promotion in promotions})
    events: list[Event] = []
    transitions: list[AssignmentTransition] = []
    for promotion in promotions:
        signal = signals[promotion.current]
        assignment = at.get(promotion.superseded)
        if assignment is None:
            continue
        if assignment.status is AssignmentStatus.CLOSED:
            closed_at = assignment.closed_at or assignment.updated_at
            events.append(service_events.reopened(signal, assignment.signal_id, closed_at))
        else:
            at[signal.signal_id] = at.pop(promotion.superseded)
            event, transition = _carry_over(assignment, signal, names)
            events.append(event)
            transitions.append(transition)
    await repository.store(session, *assignments, *transitions)
    await outbox.publish(session, *events)


def _carry_over(
    assignment: Assignment, signal: KnownSignal, names: dict[UUID, str]
) -> tuple[Event, AssignmentTransition]:
    """The same row takes the new signal; status, people, timestamps and due date stay."""
    before = service_events.state(assignment, names)
    assignment.signal_id = signal.signal_id
    assignment.version += 1
    assignment.updated_at = datetime.now(UTC)
    after = service_events.state(assignment, names)
    transition = AssignmentTransition(
        assignment_id=assignment.id,
        entity_id=assignment.entity_id,
        signal_id=signal.signal_id,
        previous_signal_id=before.signal_id,
        kind=TransitionKind.CARRIED_OVER,
        from_status=assignment.status,
        to_status=assignment.status,
        assignee_id=assignment.assignee_id,
        assignee_name=after.assignee.name if after.assignee else None,
        created_at=assignment.updated_at,
    )
    return service_events.carried_over(signal, before, after), transition
