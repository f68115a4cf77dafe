"""How due dates and snoozing are told of."""

from collections.abc import Sequence
from datetime import datetime

from services.workflow.models import KnownSignal
from services.workflow.service_events import UNKNOWN_NAME, changed_fields, label, title
from shared.auth import User
from shared.events import workflow as contracts
from shared.events.envelope import EventType
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
    return _event(
        contracts.SIGNAL_SNOOZED,
        signal,
        f"{user.name} put {title(signal)} aside {' or '.join(until)}.",
        AssignmentChanged(
            assignment=after,
            label=label(signal),
            reason=AssignmentReason.SNOOZED,
            notes=notes,
            changed=changed_fields(before, after),
        ),
        user,
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
    return _event(
        contracts.SIGNAL_WOKEN,
        signal,
        summaries[reason],
        AssignmentChanged(assignment=after, label=label(signal), reason=reason, changed=changed_fields(before, after)),
        user,
    )


def reminded(signal: KnownSignal, state: AssignmentState, reason: AssignmentReason) -> Event:
    """The due date comes near, or has come."""
    due = "is due now" if reason is AssignmentReason.DUE else f"is due on {_spoken(state.due_at)}"
    return _event(
        contracts.ASSIGNMENT_REMINDED,
        signal,
        f"{title(signal)} {due}; {_name(state.assignee)} has it.",
        AssignmentChanged(assignment=state, label=label(signal), reason=reason),
    )


def escalated(signal: KnownSignal, state: AssignmentState, to: Sequence[Person]) -> Event:
    """The due date passed a while ago."""
    to_whom = f"; told to {', '.join(person.name for person in to)}" if to else ""
    return _event(
        contracts.ASSIGNMENT_ESCALATED,
        signal,
        f"{title(signal)} has been overdue since {_spoken(state.due_at)}; {_name(state.assignee)} has it{to_whom}.",
        AssignmentChanged(
            assignment=state, label=label(signal), reason=AssignmentReason.OVERDUE, escalated_to=list(to)
        ),
    )


def _event(
    kind: EventType, signal: KnownSignal, summary: str, data: AssignmentChanged, user: User | None = None
) -> Event:
    return Event(
        type=kind,
        subject=signal.signal_id,
        key=signal.entity_id,
        actor_id=user.id if user else None,
        feed_type=ActivityEventType.ASSIGNMENT,
        summary=summary,
        data=data,
    )


def _spoken(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "no date"


def _name(who: Person | None) -> str:
    return who.name if who else "nobody"
