"""Which ownership rule a signal falls to: the first that matches and whose assignee can be assigned. Pure rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.workflow.models import KnownSignal, KnownUser, OwnershipRule
from services.workflow.service_assignees import Refusal, refusal


def matches(rule: OwnershipRule, signal: KnownSignal) -> bool:
    """Whether the signal is all that the rule asks for. A signal without a value is none of those asked for."""
    if rule.minimum_severity is not None and signal.severity < rule.minimum_severity:
        return False
    if rule.facilities and signal.facility not in rule.facilities and signal.facility_id not in rule.facilities:
        return False
    return (
        (not rule.domains or signal.domain in rule.domains)
        and (not rule.system_names or signal.system_name in rule.system_names)
        and (not rule.service_lines or signal.service_line in rule.service_lines)
        and (not rule.metric_ids or signal.metric_id in rule.metric_ids)
        and (not rule.signal_types or signal.signal_type in rule.signal_types)
    )


@dataclass(frozen=True, slots=True)
class RuleBook:
    """The rules in the order in which they are tried, and what is known of their assignees."""

    rules: Sequence[OwnershipRule]
    people: Mapping[UUID, KnownUser]

    def refusal(self, rule: OwnershipRule) -> Refusal | None:
        """Why the rule is passed over for the sake of its assignee, if it is."""
        return refusal(self.people.get(rule.assignee_id), rule.role_type)

    def applied(self) -> list[OwnershipRule]:
        """The rules that can assign: enabled, and their assignee can be assigned."""
        return [rule for rule in self.rules if rule.enabled and self.refusal(rule) is None]


def first_match(applied: Sequence[OwnershipRule], signal: KnownSignal) -> OwnershipRule | None:
    """The rule that the signal falls to."""
    return next((rule for rule in applied if matches(rule, signal)), None)
