"""How ownership rules are told of: their changes, and what they assigned."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from services.workflow.models import KnownSignal, OwnershipRule
from services.workflow.service_events import UNKNOWN_NAME, about, changed_fields, label, title
from shared.auth import User
from shared.events import workflow as contracts
from shared.events.vocabulary import ActivityEventType, SignalDomain, SignalType
from shared.events.workflow import AssignmentReason, AssignmentState, Person, RuleReference
from shared.outbox import Event


def assigned_by_rule(
    signal: KnownSignal, before: AssignmentState, after: AssignmentState, rule: OwnershipRule
) -> Event:
    """A rule assigned a new signal; nobody did."""
    assignee = after.assignee.name if after.assignee else UNKNOWN_NAME
    return about(
        contracts.SIGNAL_ASSIGNED,
        signal,
        ActivityEventType.ASSIGNMENT,
        f"The rule ‘{rule.name}’ assigned {title(signal)} to {assignee}.",
        contracts.AssignmentChanged(
            assignment=after,
            label=label(signal),
            reason=AssignmentReason.RULE,
            rule=RuleReference(rule_id=rule.id, version=rule.version, name=rule.name),
            changed=changed_fields(before, after),
        ),
    )


def rule_state(rule: OwnershipRule, names: Mapping[UUID, str], changed: Sequence[str] = ()) -> contracts.RuleChanged:
    """A rule as others are told of it."""
    return contracts.RuleChanged(
        rule_id=rule.id,
        name=rule.name,
        version=rule.version,
        position=rule.position,
        enabled=rule.enabled,
        deleted=rule.deleted_at is not None,
        conditions=contracts.RuleConditions(
            domain=[SignalDomain(value) for value in rule.domains],
            facility=rule.facilities,
            system_name=rule.system_names,
            service_line=rule.service_lines,
            metric_id=rule.metric_ids,
            signal_type=[SignalType(value) for value in rule.signal_types],
            minimum_severity=rule.minimum_severity,
        ),
        assignee=Person(rule.assignee_id, names.get(rule.assignee_id, UNKNOWN_NAME)),
        role_type=rule.role_type,
        changed=list(changed),
    )


def rule_changed(rule: OwnershipRule, names: Mapping[UUID, str], changed: Sequence[str], user: User) -> Event:
    """A user made, changed or deleted a rule, or moved it out of another one's way."""
    return Event(
        type=contracts.RULE_CHANGED,
        subject=rule.id,
        key=rule.id,
        actor_id=user.id,
        data=rule_state(rule, names, changed),
    )
