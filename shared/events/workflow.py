"""What the workflow service publishes on ``compass.workflow.v1``; the subject is always the signal."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final
from uuid import UUID

from msgspec import Meta, Struct

from shared.events import topics
from shared.events.envelope import EventType
from shared.events.vocabulary import (
    ActivityEventType,
    AssignmentStatus,
    RoleType,
    SignalDomain,
    SignalType,
)

SOURCE: Final = "/services/workflow"

Moment = Annotated[datetime, Meta(tz=True)]


class AssignmentReason(StrEnum):
    """Why an assignment event came about."""

    ASSIGNED = "assigned"
    REASSIGNED = "reassigned"
    RULE = "rule"
    CARRIED_OVER = "carried_over"
    REMINDER = "reminder"
    ESCALATION = "escalation"
    SNOOZED = "snoozed"
    WOKEN = "woken"


class Person(Struct, frozen=True):
    """A user with the name that they had at that time."""

    user_id: UUID
    name: str


class AssignmentState(Struct, frozen=True, kw_only=True):
    """The workflow state of a signal after the change."""

    assignment_id: UUID
    signal_id: UUID
    entity_id: UUID
    status: AssignmentStatus
    assignee: Person | None
    assigner: Person | None
    role_type: RoleType | None
    notes: str | None
    resolution_notes: str | None
    resolution_reason: str | None = None
    resolved_by: Person | None = None
    assigned_at: Moment | None = None
    started_at: Moment | None = None
    resolved_at: Moment | None = None
    closed_at: Moment | None = None
    due_at: Moment | None = None
    snoozed_until: Moment | None = None


class SignalLabel(Struct, frozen=True, kw_only=True):
    """What the feed calls the signal, as the names stood at that time."""

    facility: str
    metric_id: str
    description: str
    severity: int


class AssignmentChanged(Struct, frozen=True, kw_only=True):
    """The assignment after a change of people or place in the chain of detections."""

    assignment: AssignmentState
    label: SignalLabel
    reason: AssignmentReason
    previous_assignee: Person | None = None
    superseded_signal_id: Annotated[
        UUID | None, Meta(description="The older detection that the assignment was carried over from.")
    ] = None
    changed: list[str] = []


class StatusChanged(Struct, frozen=True, kw_only=True):
    """A transition of the workflow status."""

    assignment: AssignmentState
    label: SignalLabel
    from_status: AssignmentStatus
    to_status: AssignmentStatus
    notes: str | None = None
    changed: list[str] = []


class SignalReopened(Struct, frozen=True, kw_only=True):
    """A detection after the entity's last signal was closed: it starts as new."""

    signal_id: UUID
    entity_id: UUID
    label: SignalLabel
    closed_signal_id: Annotated[UUID, Meta(description="The entity's signal that was closed before.")]
    closed_at: Moment


class CommentAdded(Struct, frozen=True, kw_only=True):
    """A comment of a user on a signal."""

    signal_id: UUID
    entity_id: UUID
    label: SignalLabel
    comment_id: UUID
    text: str
    author: Person


class InterventionState(Struct, frozen=True, kw_only=True):
    """An intervention on a signal and, once measured, what came of it."""

    intervention_id: UUID
    signal_id: UUID
    entity_id: UUID
    label: SignalLabel
    kind: str
    title: str
    started_at: Moment
    window_ends_at: Moment | None = None
    value_before: float | None = None
    value_after: float | None = None
    outcome: str | None = None


class RuleChanged(Struct, frozen=True, kw_only=True):
    """An ownership rule after a change; the subject is the rule's id."""

    rule_id: UUID
    version: int
    position: int
    enabled: bool
    deleted: bool
    domain: SignalDomain | None
    facility: str | None
    system_name: str | None
    service_line: str | None
    metric_id: str | None
    signal_type: SignalType | None
    minimum_severity: int | None
    assignee_id: UUID
    role_type: RoleType
    changed: list[str] = []


def _event(name: str, data: type[Struct], when: str, **more: Any) -> EventType:
    return EventType(
        name=f"compass.{name}.v1",
        topic=topics.COMPASS_WORKFLOW,
        source=SOURCE,
        subject="rule id" if name.startswith("rule.") else "signal id",
        data=data,
        when=when,
        **more,
    )


_ASSIGNMENT: Final = (ActivityEventType.ASSIGNMENT,)

SIGNAL_ASSIGNED: Final = _event(
    "signal.assigned",
    AssignmentChanged,
    "Assigned, reassigned, by a rule, or carried over to a newer detection. It alone is published then.",
    feed_types=_ASSIGNMENT,
)
SIGNAL_REOPENED: Final = _event(
    "signal.reopened",
    SignalReopened,
    "A detection after the entity's last signal was closed.",
    feed_types=(ActivityEventType.NEW_SIGNAL,),
)
STATUS_CHANGED: Final = _event(
    "status.changed", StatusChanged, "Every other transition.", feed_types=(ActivityEventType.STATUS_CHANGE,)
)
COMMENT_ADDED: Final = _event(
    "comment.added", CommentAdded, "A user commented.", feed_types=(ActivityEventType.COMMENT,)
)
INTERVENTION_ACTIVATED: Final = _event(
    "intervention.activated",
    InterventionState,
    "An intervention started.",
    feed_types=(ActivityEventType.INTERVENTION_ACTIVATED,),
)
INTERVENTION_MEASURED: Final = _event(
    "intervention.measured",
    InterventionState,
    "An intervention's outcome was measured.",
    feed_types=(ActivityEventType.INTERVENTION_OUTCOME,),
)
ASSIGNMENT_REMINDED: Final = _event(
    "assignment.reminded", AssignmentChanged, "The due date comes near.", feed_types=_ASSIGNMENT
)
ASSIGNMENT_ESCALATED: Final = _event(
    "assignment.escalated", AssignmentChanged, "The due date has passed.", feed_types=_ASSIGNMENT
)
SIGNAL_SNOOZED: Final = _event(
    "signal.snoozed", AssignmentChanged, "Put aside until a date, or until it worsens.", feed_types=_ASSIGNMENT
)
SIGNAL_WOKEN: Final = _event("signal.woken", AssignmentChanged, "A snoozed signal is back.", feed_types=_ASSIGNMENT)
RULE_CHANGED: Final = _event("rule.changed", RuleChanged, "An ownership rule was made, changed or deleted.")
ASSIGNMENT_SNAPSHOT: Final = _event(
    "assignment.snapshot", AssignmentChanged, "The present state, on demand.", snapshot=True
)
RULE_SNAPSHOT: Final = _event("rule.snapshot", RuleChanged, "The present state, on demand.", snapshot=True)

EVENTS: Final = (
    SIGNAL_ASSIGNED,
    SIGNAL_REOPENED,
    STATUS_CHANGED,
    COMMENT_ADDED,
    INTERVENTION_ACTIVATED,
    INTERVENTION_MEASURED,
    ASSIGNMENT_REMINDED,
    ASSIGNMENT_ESCALATED,
    SIGNAL_SNOOZED,
    SIGNAL_WOKEN,
    RULE_CHANGED,
    ASSIGNMENT_SNAPSHOT,
    RULE_SNAPSHOT,
)
