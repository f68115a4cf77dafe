"""How due dates and snoozing are told of."""

from collections.abc import Sequence
from datetime import datetime

from services.workflow.models import KnownSignal
from services.workflow.service_events import UNKNOWN_NAME, about, changed_fields, label, name_of, title
from shared.auth import User
from shared.events import workflow as contracts
from shared.events.vocabulary import ActivityEventType
from shared.events.workflow import AssignmentChanged, AssignmentReason, AssignmentState, Person
from shared.outbox import Event


def snoozed(
    signal: KnownSignal, before: AssignmentState, after: AssignmentState, user: User, notes: str | None
) -> Event:
    """A user put the signal aside."""
    until = [f"until {_spoken(after.snoozed_until)}"] if after.snoozed_until else []
    if after.snoozed_until_worse:
        until.append("until it worsens")
    return about(
        contracts.SIGNAL_SNOOZED,
        signal,
        ActivityEventType.ASSIGNMENT,
        f"{user.name} put {title(signal)} aside {' or '.join(until)}.",
        AssignmentChanged(
            assignment=after,
            label=label(signal),
            reason=AssignmentReason.SNOOZED,
            notes=notes,
            changed=changed_fields(before, after),
        ),
        user.id,
    )


def woken(
    signal: KnownSignal,
    before: AssignmentState,
    after: AssignmentState,
    reason: AssignmentReason,
    user: User | None = None,
) -> Event:
    """A snoozed signal is back: by its date, because it worsened, or by a user."""
    summaries = {
        AssignmentReason.DATE: f"{title(signal)} is back after having been put aside.",
        AssignmentReason.WORSENED: f"{title(signal)} has become worse and is not put aside any more.",
        AssignmentReason.USER: f"{user.name if user else UNKNOWN_NAME} brought {title(signal)} back.",
    }
    return about(
        contracts.SIGNAL_WOKEN,
        signal,
        ActivityEventType.ASSIGNMENT,
        summaries[reason],
        AssignmentChanged(assignment=after, label=label(signal), reason=reason, changed=changed_fields(before, after)),
        user.id if user else None,
    )


def reminded(signal: KnownSignal, state: AssignmentState, reason: AssignmentReason) -> Event:
    """The due date comes near, or has come."""
    due = "is due now" if reason is AssignmentReason.DUE else f"is due on {_spoken(state.due_at)}"
    return about(
        contracts.ASSIGNMENT_REMINDED,
        signal,
        ActivityEventType.ASSIGNMENT,
        f"{title(signal)} {due}; {name_of(state.assignee)} has it.",
        AssignmentChanged(assignment=state, label=label(signal), reason=reason),
    )


def escalated(signal: KnownSignal, state: AssignmentState, to: Sequence[Person]) -> Event:
    """The due date passed a while ago."""
    to_whom = f"; told to {', '.join(person.name for person in to)}" if to else ""
    return about(
        contracts.ASSIGNMENT_ESCALATED,
        signal,
        ActivityEventType.ASSIGNMENT,
        f"{title(signal)} has been overdue since {_spoken(state.due_at)}; {name_of(state.assignee)} has it{to_whom}.",
        AssignmentChanged(
            assignment=state, label=label(signal), reason=AssignmentReason.OVERDUE, escalated_to=list(to)
        ),
    )


def _spoken(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "no date"
