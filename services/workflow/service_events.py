"""What this service tells others: its changes as events, with one sentence each for the feed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from services.workflow.models import Assignment, Comment, KnownSignal
from shared.auth import User
from shared.events import workflow as contracts
from shared.events.envelope import EventType
from shared.events.vocabulary import ActivityEventType, AssignmentStatus
from shared.events.workflow import AssignmentReason, AssignmentState, Person
from shared.outbox import Event

UNKNOWN_NAME: Final = "an unknown user"
"""For somebody whose account was never heard of here, though they have acted or were named."""

_WORDS: Final = {status: status.value.replace("_", " ") for status in AssignmentStatus}


def title(signal: KnownSignal) -> str:
    """What a sentence calls the signal."""
    slice_of = f" ({signal.group_value})" if signal.group_value else ""
    return f"‘{signal.metric_id} at {signal.facility}{slice_of}’"


def person(user_id: UUID | None, names: Mapping[UUID, str]) -> Person | None:
    """A user with the name of this moment."""
    return None if user_id is None else Person(user_id, names.get(user_id, UNKNOWN_NAME))


def state(assignment: Assignment, names: Mapping[UUID, str]) -> AssignmentState:
    """The assignment as others are told of it."""
    return AssignmentState(
        assignment_id=assignment.id,
        signal_id=assignment.signal_id,
        entity_id=assignment.entity_id,
        status=assignment.status,
        assignee=person(assignment.assignee_id, names),
        assigner=person(assignment.assigner_id, names),
        role_type=assignment.role_type,
        notes=assignment.notes,
        resolution_notes=assignment.resolution_notes,
        resolution_reason=assignment.resolution_reason,
        resolved_by=person(assignment.resolved_by, names),
        assigned_at=assignment.assigned_at,
        started_at=assignment.started_at,
        resolved_at=assignment.resolved_at,
        closed_at=assignment.closed_at,
        due_at=assignment.due_at,
        snoozed_until=assignment.snoozed_until,
        snoozed_until_worse=assignment.snoozed_severity is not None,
    )


def assigned(
    signal: KnownSignal, before: AssignmentState, after: AssignmentState, user: User, reason: AssignmentReason
) -> Event:
    """A user assigned or reassigned the signal."""
    verb = "reassigned" if reason is AssignmentReason.REASSIGNED else "assigned"
    return about(
        contracts.SIGNAL_ASSIGNED,
        signal,
        ActivityEventType.ASSIGNMENT,
        f"{user.name} {verb} {title(signal)} to {name_of(after.assignee)}.",
        contracts.AssignmentChanged(
            assignment=after,
            label=label(signal),
            reason=reason,
            previous_assignee=before.assignee,
            changed=changed_fields(before, after),
        ),
        user.id,
    )


def carried_over(signal: KnownSignal, before: AssignmentState, after: AssignmentState) -> Event:
    """An open assignment went on to a newer detection."""
    work = f"the assignment to {after.assignee.name}" if after.assignee else "its history"
    return about(
        contracts.SIGNAL_ASSIGNED,
        signal,
        ActivityEventType.ASSIGNMENT,
        f"{title(signal)} was detected again: {work} goes on with the new signal ({_WORDS[after.status]}).",
        contracts.AssignmentChanged(
            assignment=after,
            label=label(signal),
            reason=AssignmentReason.CARRIED_OVER,
            previous_assignee=before.assignee,
            superseded_signal_id=before.signal_id,
            changed=changed_fields(before, after),
        ),
    )


def moved(signal: KnownSignal, before: AssignmentState, after: AssignmentState, user: User, notes: str | None) -> Event:
    """A user moved the status, or took the assignment back."""
    if after.status is AssignmentStatus.NEW:
        summary = f"{user.name} took {title(signal)} back from {name_of(before.assignee)}."
    else:
        summary = f"{user.name} moved {title(signal)} from {_WORDS[before.status]} to {_WORDS[after.status]}."
    return about(
        contracts.STATUS_CHANGED,
        signal,
        ActivityEventType.STATUS_CHANGE,
        summary,
        contracts.StatusChanged(
            assignment=after,
            label=label(signal),
            from_status=before.status,
            to_status=after.status,
            notes=notes,
            changed=changed_fields(before, after),
        ),
        user.id,
    )


def reopened(signal: KnownSignal, closed_signal_id: UUID, closed_at: datetime) -> Event:
    """The entity was detected again after its last signal had been closed."""
    return about(
        contracts.SIGNAL_REOPENED,
        signal,
        ActivityEventType.NEW_SIGNAL,
        f"{title(signal)} is back: its last signal was closed on {closed_at:%Y-%m-%d}.",
        contracts.SignalReopened(
            signal_id=signal.signal_id,
            entity_id=signal.entity_id,
            label=label(signal),
            closed_signal_id=closed_signal_id,
            closed_at=closed_at,
        ),
    )


def commented(signal: KnownSignal, comment: Comment) -> Event:
    """A user commented on the signal."""
    return about(
        contracts.COMMENT_ADDED,
        signal,
        ActivityEventType.COMMENT,
        f"{comment.author_name} commented on {title(signal)}.",
        contracts.CommentAdded(
            signal_id=signal.signal_id,
            entity_id=signal.entity_id,
            label=label(signal),
            comment_id=comment.id,
            text=comment.text,
            author=Person(comment.author_id, comment.author_name),
        ),
        comment.author_id,
    )


def about(
    kind: EventType,
    signal: KnownSignal,
    shown: ActivityEventType,
    summary: str,
    data: Struct,
    actor_id: UUID | None = None,
) -> Event:
    """What happened to a signal; told in one order for all signals of its entity."""
    return Event(
        type=kind,
        subject=signal.signal_id,
        key=signal.entity_id,
        actor_id=actor_id,
        feed_type=shown,
        summary=summary,
        data=data,
    )


def label(signal: KnownSignal) -> contracts.SignalLabel:
    """What the feed calls the signal."""
    return contracts.SignalLabel(
        facility=signal.facility,
        metric_id=signal.metric_id,
        description=signal.description,
        severity=signal.severity,
    )


def changed_fields(before: AssignmentState, after: AssignmentState) -> list[str]:
    """The names of what differs."""
    return [name for name in AssignmentState.__struct_fields__ if getattr(before, name) != getattr(after, name)]


def name_of(who: Person | None) -> str:
    """What a sentence calls somebody."""
    return who.name if who else "nobody"
