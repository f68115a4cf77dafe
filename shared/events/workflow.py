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
    DUE_SOON = "due_soon"
    DUE = "due"
    OVERDUE = "overdue"
    SNOOZED = "snoozed"
    DATE = "date"
    """Woken by the date that it was snoozed until."""
    WORSENED = "worsened"
    """Woken by a newer detection that is worse."""
    USER = "user"
    """Woken by a user."""
    SNAPSHOT = "snapshot"
    """Nothing came about: the present state, on demand."""


class ResolutionReason(StrEnum):
    """Why a signal was resolved."""

    IMPROVED = "improved"
    DATA_QUALITY = "data_quality"
    ACCEPTED_RISK = "accepted_risk"
    DUPLICATE = "duplicate"
    NOT_ACTIONABLE = "not_actionable"


class InterventionKind(StrEnum):
    """What sort of thing was done about a signal."""

    PLAYBOOK = "playbook"
    PROTOCOL_CHANGE = "protocol_change"
    STAFFING = "staffing"
    EDUCATION = "education"
    AI_AGENT = "ai_agent"


class InterventionOutcome(StrEnum):
    """What became of the metric after an intervention, in the direction that is better for it."""

    IMPROVED = "improved"
    UNCHANGED = "unchanged"
    WORSENED = "worsened"
    NOT_ENOUGH_DATA = "not_enough_data"


class Person(Struct, frozen=True):
    """A user with the name that they had at that time."""

    user_id: Annotated[UUID, Meta(description="The user.")]
    name: Annotated[str, Meta(description="The name at that time.")]


class AssignmentState(Struct, frozen=True, kw_only=True):
    """The workflow state of a signal after the change."""

    assignment_id: Annotated[UUID, Meta(description="The assignment.")]
    signal_id: Annotated[UUID, Meta(description="The signal.")]
    entity_id: Annotated[UUID, Meta(description="What is watched; the same for all its detections.")]
    status: Annotated[AssignmentStatus, Meta(description="Workflow status.")]
    assignee: Annotated[Person | None, Meta(description="Who works on it.")]
    assigner: Annotated[Person | None, Meta(description="Who assigned it.")]
    role_type: Annotated[RoleType | None, Meta(description="The role in which it was assigned.")]
    notes: Annotated[str | None, Meta(description="What was said when it was assigned.")]
    resolution_notes: Annotated[str | None, Meta(description="What was done about it.")]
    resolution_reason: Annotated[ResolutionReason | None, Meta(description="Why it was resolved.")] = None
    resolved_by: Annotated[Person | None, Meta(description="Who resolved it last.")] = None
    assigned_at: Annotated[Moment | None, Meta(description="When it was assigned.")] = None
    started_at: Annotated[Moment | None, Meta(description="When work began.")] = None
    resolved_at: Annotated[Moment | None, Meta(description="When it was resolved.")] = None
    closed_at: Annotated[Moment | None, Meta(description="When it was closed.")] = None
    due_at: Annotated[Moment | None, Meta(description="When it is due.")] = None
    snoozed_until: Annotated[Moment | None, Meta(description="Until when it is put aside.")] = None
    snoozed_until_worse: Annotated[bool, Meta(description="Whether it is put aside until it worsens.")] = False


class RuleReference(Struct, frozen=True, kw_only=True):
    """The ownership rule that assigned a signal, as it was then."""

    rule_id: Annotated[UUID, Meta(description="The rule.")]
    version: Annotated[int, Meta(description="Its version.")]
    name: Annotated[str, Meta(description="Its name at that time.")]


class SignalLabel(Struct, frozen=True, kw_only=True):
    """What the feed calls the signal, as the names stood at that time."""

    facility: Annotated[str, Meta(description="Facility name.")]
    metric_id: Annotated[str, Meta(description="Metric identifier.")]
    description: Annotated[str, Meta(description="What was found, for a person to read.")]
    severity: Annotated[int, Meta(description="0 to 100.")]


class AssignmentChanged(Struct, frozen=True, kw_only=True):
    """The assignment after a change of people or place in the chain of detections."""

    assignment: Annotated[AssignmentState, Meta(description="The assignment after the change.")]
    label: Annotated[SignalLabel, Meta(description="What the feed calls the signal.")]
    reason: Annotated[AssignmentReason, Meta(description="Why it came about.")]
    previous_assignee: Annotated[Person | None, Meta(description="Who had it before.")] = None
    superseded_signal_id: Annotated[
        UUID | None, Meta(description="The older detection that the assignment was carried over from.")
    ] = None
    rule: Annotated[RuleReference | None, Meta(description="What assigned it, for the reason `rule`.")] = None
    notes: Annotated[str | None, Meta(description="What was said with it, for the reason `snoozed`.")] = None
    escalated_to: Annotated[
        list[Person], Meta(description="Who should see to it, beside the assignee, for the reason `overdue`.")
    ] = []
    changed: Annotated[list[str], Meta(description="Names of the fields that differ from the state before.")] = []


class StatusChanged(Struct, frozen=True, kw_only=True):
    """A transition of the workflow status."""

    assignment: Annotated[AssignmentState, Meta(description="The assignment after the change.")]
    label: Annotated[SignalLabel, Meta(description="What the feed calls the signal.")]
    from_status: Annotated[AssignmentStatus, Meta(description="Status before.")]
    to_status: Annotated[AssignmentStatus, Meta(description="Status after.")]
    notes: Annotated[str | None, Meta(description="What was said with the change.")] = None
    changed: Annotated[list[str], Meta(description="Names of the fields that differ from the state before.")] = []


class SignalReopened(Struct, frozen=True, kw_only=True):
    """A detection after the entity's last signal was closed: it starts as new."""

    signal_id: Annotated[UUID, Meta(description="The signal.")]
    entity_id: Annotated[UUID, Meta(description="What is watched; the same for all its detections.")]
    label: Annotated[SignalLabel, Meta(description="What the feed calls the signal.")]
    closed_signal_id: Annotated[UUID, Meta(description="The entity's signal that was closed before.")]
    closed_at: Annotated[Moment, Meta(description="When it was closed.")]


class CommentAdded(Struct, frozen=True, kw_only=True):
    """A comment of a user on a signal."""

    signal_id: Annotated[UUID, Meta(description="The signal.")]
    entity_id: Annotated[UUID, Meta(description="What is watched; the same for all its detections.")]
    label: Annotated[SignalLabel, Meta(description="What the feed calls the signal.")]
    comment_id: Annotated[UUID, Meta(description="The comment.")]
    text: Annotated[str, Meta(description="The text.")]
    author: Annotated[Person, Meta(description="Who wrote it.")]


class InterventionState(Struct, frozen=True, kw_only=True):
    """An intervention on a signal and, once measured, what came of it."""

    intervention_id: Annotated[UUID, Meta(description="The intervention.")]
    signal_id: Annotated[UUID, Meta(description="The signal.")]
    entity_id: Annotated[UUID, Meta(description="What is watched; the same for all its detections.")]
    label: Annotated[SignalLabel, Meta(description="What the feed calls the signal.")]
    kind: Annotated[InterventionKind, Meta(description="What sort of thing was done.")]
    title: Annotated[str, Meta(description="One line.")]
    started_at: Annotated[Moment, Meta(description="When it began.")]
    window_ends_at: Annotated[Moment | None, Meta(description="When its outcome is measured.")] = None
    value_before: Annotated[float | None, Meta(description="The metric before it began.")] = None
    value_after: Annotated[float | None, Meta(description="The metric after it.")] = None
    outcome: Annotated[InterventionOutcome | None, Meta(description="What came of it.")] = None
    notes: Annotated[str | None, Meta(description="More than one line.")] = None
    activated_signal_id: Annotated[
        UUID | None, Meta(description="The detection at which it began; `signal_id` is the entity's current one.")
    ] = None
    window_begins_at: Annotated[Moment | None, Meta(description="From here to its start is before.")] = None
    difference: Annotated[float | None, Meta(description="Value after less value before.")] = None
    relative_change: Annotated[float | None, Meta(description="The difference as a share of the value before.")] = None
    reason: Annotated[str | None, Meta(description="Why the outcome is what it is, for a person to read.")] = None
    measured_at: Annotated[Moment | None, Meta(description="When the outcome was measured.")] = None
    measured_by: Annotated[Person | None, Meta(description="Who had it measured early; absent otherwise.")] = None


class RuleConditions(Struct, frozen=True, kw_only=True):
    """What a signal must be for a rule to match: any of the values of each list; an empty list asks for nothing."""

    domain: Annotated[list[SignalDomain], Meta(description="Quality domain.")]
    facility: Annotated[list[str], Meta(description="Facility name or id.")]
    system_name: Annotated[list[str], Meta(description="Health system name.")]
    service_line: Annotated[list[str], Meta(description="Primary service line.")]
    metric_id: Annotated[list[str], Meta(description="Metric identifier.")]
    signal_type: Annotated[list[SignalType], Meta(description="Signal type.")]
    minimum_severity: Annotated[int | None, Meta(description="Matches from this severity on.")]


class RuleChanged(Struct, frozen=True, kw_only=True):
    """An ownership rule after a change; the subject is the rule's id."""

    rule_id: Annotated[UUID, Meta(description="The rule.")]
    name: Annotated[str, Meta(description="What people call the rule.")]
    version: Annotated[int, Meta(description="Counts up with every change.")]
    position: Annotated[int, Meta(description="Rules are tried in this order.")]
    enabled: Annotated[bool, Meta(description="Whether it is applied.")]
    deleted: Annotated[bool, Meta(description="Whether it is gone.")]
    conditions: Annotated[RuleConditions, Meta(description="What it matches.")]
    assignee: Annotated[Person, Meta(description="Who gets what it matches.")]
    role_type: Annotated[RoleType, Meta(description="The role in which it is assigned.")]
    changed: Annotated[list[str], Meta(description="Names of the fields that differ from the state before.")] = []


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
    "assignment.reminded", AssignmentChanged, "The due date comes near, or has come.", feed_types=_ASSIGNMENT
)
ASSIGNMENT_ESCALATED: Final = _event(
    "assignment.escalated", AssignmentChanged, "The due date passed a while ago.", feed_types=_ASSIGNMENT
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
