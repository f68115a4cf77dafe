"""Ownership rules at work: a new signal is assigned by the first that matches, in the consumer's transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository, repository_rules, service_events
from services.workflow.models import Assignment, AssignmentTransition, KnownSignal, OwnershipRule, TransitionKind
from services.workflow.service_events_rules import assigned_by_rule
from services.workflow.service_matching import RuleBook, first_match
from services.workflow.service_views import untouched
from services.workflow.settings import DueSettings
from shared.events.vocabulary import AssignmentStatus
from shared.outbox import Event


class Assigned(NamedTuple):
    """What a rule's assignment has to write and to tell."""

    assignment: Assignment
    line: AssignmentTransition
    event: Event


@dataclass(frozen=True, slots=True)
class Ownership:
    """The rules that can assign at this moment, in their order, and the names of those they assign to."""

    rules: Sequence[OwnershipRule]
    names: Mapping[UUID, str]
    due: DueSettings

    def assign(self, signal: KnownSignal) -> Assigned | None:
        """Assign a signal that has no assignment; None where no rule matches. Nobody is the assigner."""
        rule = first_match(self.rules, signal)
        if rule is None:
            return None
        now = datetime.now(UTC)
        assignment = untouched(signal, now)
        before = service_events.state(assignment, self.names)
        assignment.status, assignment.assigned_at = AssignmentStatus.ASSIGNED, now
        assignment.assignee_id, assignment.role_type = rule.assignee_id, rule.role_type
        assignment.rule_id, assignment.rule_version = rule.id, rule.version
        assignment.due_at = self.due.due_at(now, signal.severity)
        assignment.version = 1
        after = service_events.state(assignment, self.names)
        line = AssignmentTransition(
            assignment_id=assignment.id,
            entity_id=assignment.entity_id,
            signal_id=assignment.signal_id,
            kind=TransitionKind.ASSIGNED,
            from_status=before.status,
            to_status=after.status,
            assignee_id=assignment.assignee_id,
            assignee_name=self.names[rule.assignee_id],
            rule_id=rule.id,
            rule_version=rule.version,
            created_at=now,
        )
        return Assigned(assignment, line, assigned_by_rule(signal, before, after, rule))


async def load(session: AsyncSession, due: DueSettings) -> Ownership:
    """The rules as they are now. One that cannot assign, because of its assignee, is passed over."""
    rules = [rule for rule in await repository_rules.rules(session) if rule.enabled]
    people = await repository.users(session, {rule.assignee_id for rule in rules})
    names = {person.user_id: person.name for person in people.values()}
    return Ownership(RuleBook(rules, people).applied(), names, due)
