"""What a detection means for the work on its entity: carried over, reopened, assigned by a rule, or nothing.

The order of arrival decides nothing. An entity's current detection here is the latest by `detected_at`; its open
assignment always stands at the current one. So a detection that comes late, again, or after a newer one moves nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import (
    repository,
    repository_copies,
    service_events,
    service_events_due,
    service_ownership,
)
from services.workflow.models import Assignment, AssignmentTransition, KnownSignal, TransitionKind
from services.workflow.repository_copies import Standing
from services.workflow.service_snooze import is_worse
from services.workflow.service_transitions import wake
from services.workflow.service_views import people_of
from services.workflow.settings import DueSettings
from shared import outbox
from shared.events.signals import SignalState
from shared.events.vocabulary import AssignmentStatus
from shared.events.workflow import AssignmentReason
from shared.outbox import Event


class Sighting(NamedTuple):
    """What one event says of a detection.

    ``was_current`` is false for one that came as history: it may be the only detection known here for a while, but it
    never takes the place of another.
    """

    signal: SignalState
    sequence: int
    was_current: bool
    is_snapshot: bool = False
    is_regression: bool = False


class _Arrival(NamedTuple):
    """A detection that has become its entity's current one, and which one it took that place from, if any."""

    superseded: UUID | None
    current: UUID
    entity_id: UUID
    is_snapshot: bool
    is_regression: bool


@dataclass(slots=True)
class _Changes:
    """Where detections stand after a batch, and how that came about, in order."""

    standings: dict[UUID, Standing]
    current: dict[UUID, Standing]
    news: dict[UUID, SignalState] = field(default_factory=dict)
    touched: set[UUID] = field(default_factory=set)
    arrivals: list[_Arrival] = field(default_factory=list)

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
        # A snapshot has the number of the last event, and is right where they differ: after a restore.
        if known is None or sighting.sequence + sighting.is_snapshot > known.sequence:
            self.news[signal.signal_id] = signal
        if present is not None and standing.was_current and signal.detected_at > present.detected_at:
            self._put(present._replace(is_current=False))
            standing = standing._replace(is_current=True)
            self._arrive(sighting, present.signal_id)
        elif present is None and standing.was_current:
            self._arrive(sighting, None)
        if standing != known:
            self._put(standing)

    def _arrive(self, sighting: Sighting, superseded: UUID | None) -> None:
        signal = sighting.signal
        self.arrivals.append(
            _Arrival(superseded, signal.signal_id, signal.entity_id, sighting.is_snapshot, sighting.is_regression)
        )

    def _put(self, standing: Standing) -> None:
        self.standings[standing.signal_id] = standing
        self.touched.add(standing.signal_id)
        if standing.is_current:
            self.current[standing.entity_id] = standing


async def observe(session: AsyncSession, sightings: Sequence[Sighting], due: DueSettings) -> None:
    """Take in what was heard of detections, in this order, with all that follows for assignments."""
    if not sightings:
        return
    current = await repository_copies.lock_current(session, {sighting.signal.entity_id for sighting in sightings})
    known = await repository_copies.standings(session, {sighting.signal.signal_id for sighting in sightings})
    changes = _Changes(known | {standing.signal_id: standing for standing in current.values()}, current)
    for sighting in sightings:
        changes.take(sighting)
    await _store(session, changes)
    if changes.arrivals:
        await _follow(session, changes.arrivals, due)


async def _store(session: AsyncSession, changes: _Changes) -> None:
    touched = [changes.standings[signal_id] for signal_id in sorted(changes.touched)]
    if any(arrival.superseded for arrival in changes.arrivals):
        await repository_copies.demote(session, [standing.signal_id for standing in touched if not standing.is_current])
    if changes.news:
        heard = [(changes.news[signal_id], changes.standings[signal_id]) for signal_id in sorted(changes.news)]
        await repository_copies.store_signals(session, heard)
    if old := [standing for standing in touched if standing.signal_id not in changes.news]:
        await repository_copies.set_standing(session, old)


@dataclass(slots=True)
class _Followed:
    """What a batch has to write and to tell of assignments, in order."""

    rows: list[Assignment | AssignmentTransition] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


async def _follow(session: AsyncSession, arrivals: Sequence[_Arrival], due: DueSettings) -> None:
    """Let the work of each entity follow to its newer detections, one after the other, and rules assign what is new."""
    superseding = {arrival.entity_id for arrival in arrivals if arrival.superseded}
    assignments = await repository.lock_assignments(session, superseding) if superseding else []
    ownership = await service_ownership.load(session, due)
    if not assignments and not ownership.rules:
        return
    at = {assignment.signal_id: assignment for assignment in assignments}
    names = {**await repository.names_of(session, people_of(assignments)), **ownership.names}
    signals = await repository_copies.signals(session, {arrival.current for arrival in arrivals})
    followed = _Followed(rows=list(assignments))
    for arrival in arrivals:
        signal = signals[arrival.current]
        left = at.get(arrival.superseded) if arrival.superseded else None
        if left is not None and left.status is not AssignmentStatus.CLOSED:
            at[signal.signal_id] = at.pop(left.signal_id)
            _carry_over(followed, left, signal, names)
            if is_worse(left, signal, is_regression=arrival.is_regression):
                _wake(followed, left, signal, names)
            continue
        if left is not None:
            followed.events.append(service_events.reopened(signal, left.signal_id, left.closed_at or left.updated_at))
        if not arrival.is_snapshot and (made := ownership.assign(signal)) is not None:
            at[signal.signal_id] = made.assignment
            followed.rows += [made.assignment, made.line]
            followed.events.append(made.event)
    await repository.store(session, *followed.rows)
    await outbox.publish(session, *followed.events)


def _carry_over(followed: _Followed, assignment: Assignment, signal: KnownSignal, names: Mapping[UUID, str]) -> None:
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
    followed.rows.append(transition)
    followed.events.append(service_events.carried_over(signal, before, after))


def _wake(followed: _Followed, assignment: Assignment, signal: KnownSignal, names: Mapping[UUID, str]) -> None:
    """What was put aside until it worsens is back."""
    before = service_events.state(assignment, names)
    wake(assignment)
    assignment.version += 1
    assignment.updated_at = datetime.now(UTC)
    after = service_events.state(assignment, names)
    followed.events.append(service_events_due.woken(signal, before, after, AssignmentReason.WORSENED))
