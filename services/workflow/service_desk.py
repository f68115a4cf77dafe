"""What a write must know of its signals, locked and loaded at once however many they are.

The rules (`service_decisions`) decide over a desk in memory, and leave on it what is to be written and told; `settle`
does that in a few statements. A single request is a desk with one signal.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository
from services.workflow.models import Assignment, AssignmentTransition, KnownSignal, KnownUser
from services.workflow.repository import ClosedAt
from services.workflow.schemas import AssignmentView
from services.workflow.service_views import Work, etag, people_of, view
from shared import outbox
from shared.auth import User
from shared.errors import ConflictError, NotFoundError
from shared.outbox import Event
from shared.preconditions import Precondition


@dataclass(slots=True)
class Desk:
    """Works by signal, as they stand after the decisions made so far, and what these have to write and to tell."""

    user: User
    now: datetime
    works: dict[UUID, Work]
    people: Mapping[UUID, KnownUser]
    names: Mapping[UUID, str]
    closed: Sequence[ClosedAt]
    changed: dict[UUID, Assignment] = field(default_factory=dict)
    history: list[AssignmentTransition] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def work(self, signal_id: UUID, if_match: Precondition | None = None) -> Work:
        """The work on a signal that may be written on.

        Raises:
            NotFoundError: ``signal_not_known_yet``.
            PreconditionFailedError: the version is another one.
            ConflictError: ``superseded``.
        """
        work = self.works.get(signal_id)
        if work is None:
            raise not_known_yet()
        if if_match is not None:
            if_match.require(etag(work))
        if work.superseded_by is not None:
            raise ConflictError(f"A newer detection has superseded this signal: {work.superseded_by}.", "superseded")
        return work

    def take(self, work: Work, assignment: Assignment, line: AssignmentTransition | None, event: Event) -> None:
        """Note a decision: the changed assignment, its line of history (if it is a transition) and its event."""
        self.works[work.signal.signal_id] = work._replace(assignment=assignment)
        self.changed[assignment.id] = assignment
        if line is not None:
            self.history.append(line)
        self.events.append(event)

    def view(self, signal_id: UUID) -> AssignmentView:
        """The signal's workflow as the caller sees it now."""
        return view(self.user, self.works[signal_id], self.names, self.closed)


def not_known_yet() -> NotFoundError:
    """The answer to a signal that Kafka has not told of."""
    return NotFoundError(
        "No signal of this id is known to the workflow yet. One that was published just now may take a moment.",
        "signal_not_known_yet",
    )


async def lock(
    session: AsyncSession, user: User, signal_ids: Collection[UUID], assignee_ids: Collection[UUID] = ()
) -> Desk:
    """Lock the signals, those of them that are known, and load all that decisions about them need.

    The locks are taken in one order by everybody, and keep the signals' assignments, and newer detections of their
    entities, from others until the end of the transaction.
    """
    signals = await repository.lock_signals(session, signal_ids)
    works = await works_of(session, signals, await repository.assignments_at(session, [s.signal_id for s in signals]))
    named = people_of(work.assignment for work in works.values() if work.assignment)
    people = await repository.users(session, {*named, *assignee_ids})
    return Desk(
        user=user,
        now=datetime.now(UTC),
        works=works,
        people=people,
        # The caller's is known from the token at least.
        names={user.id: user.name} | {person.user_id: person.name for person in people.values()},
        closed=await repository.closed(session, {signal.entity_id for signal in signals}),
    )


async def works_of(
    session: AsyncSession, signals: Sequence[KnownSignal], at: Mapping[UUID, Assignment]
) -> dict[UUID, Work]:
    """Each signal with the assignment that it shows: the one at it, or where it is superseded, the one that left it."""
    old = [signal for signal in signals if not signal.is_current]
    left, current = {}, {}
    if old:
        left = await repository.assignments_that_left(session, [s.signal_id for s in old if s.signal_id not in at])
        current = await repository.current_signal_ids(session, {signal.entity_id for signal in old})
    return {
        signal.signal_id: Work(
            signal,
            at.get(signal.signal_id) or left.get(signal.signal_id),
            None if signal.is_current else current[signal.entity_id],
        )
        for signal in signals
    }


async def settle(session: AsyncSession, desk: Desk) -> None:
    """Write and publish what was decided."""
    if desk.events:
        await repository.store(session, *desk.changed.values(), *desk.history)
        await outbox.publish(session, *desk.events)
