"""What this service tells others of interventions, with one sentence each for the feed."""

from collections.abc import Mapping
from typing import Final

from services.workflow.models import Intervention, KnownSignal
from services.workflow.schemas_interventions import OutcomeView
from services.workflow.service_events import about, label, title
from shared.events import workflow as contracts
from shared.events.vocabulary import ActivityEventType
from shared.events.workflow import InterventionKind, InterventionOutcome, InterventionState, Person
from shared.outbox import Event

_KINDS: Final[Mapping[InterventionKind, str]] = {
    InterventionKind.PLAYBOOK: "a playbook",
    InterventionKind.PROTOCOL_CHANGE: "a change of protocol",
    InterventionKind.STAFFING: "a change of staffing",
    InterventionKind.EDUCATION: "education",
    InterventionKind.AI_AGENT: "an AI agent",
}
_VERDICTS: Final[Mapping[InterventionOutcome, str]] = {
    InterventionOutcome.IMPROVED: "improved",
    InterventionOutcome.UNCHANGED: "is unchanged",
    InterventionOutcome.WORSENED: "worsened",
}


def activated(signal: KnownSignal, intervention: Intervention) -> Event:
    """A user began an intervention."""
    what = _KINDS[intervention.kind]
    return about(
        contracts.INTERVENTION_ACTIVATED,
        signal,
        ActivityEventType.INTERVENTION_ACTIVATED,
        f"{intervention.created_by_name} activated {what} for {title(signal)}: “{intervention.title}”.",
        _state(signal, intervention, None),
        intervention.created_by,
    )


def measured(signal: KnownSignal, intervention: Intervention, outcome: OutcomeView) -> Event:
    """The outcome was measured, at the entity's current detection, wherever the intervention began."""
    verdict = _VERDICTS.get(outcome.verdict)
    since = f"{intervention.started_at:%Y-%m-%d}"
    if verdict is None:
        summary = f"What came of “{intervention.title}” for {title(signal)} cannot be said: {outcome.reason}"
    else:
        summary = f"{title(signal)} {verdict} after “{intervention.title}” of {since}: {outcome.reason}"
    return about(
        contracts.INTERVENTION_MEASURED,
        signal,
        ActivityEventType.INTERVENTION_OUTCOME,
        summary,
        _state(signal, intervention, outcome),
        intervention.measured_by,
    )


def _state(signal: KnownSignal, intervention: Intervention, outcome: OutcomeView | None) -> InterventionState:
    measured_by = None
    if intervention.measured_by is not None:
        measured_by = Person(intervention.measured_by, intervention.measured_by_name or "")
    return InterventionState(
        intervention_id=intervention.id,
        signal_id=signal.signal_id,
        entity_id=signal.entity_id,
        label=label(signal),
        kind=intervention.kind,
        title=intervention.title,
        notes=intervention.notes,
        activated_signal_id=intervention.signal_id,
        started_at=intervention.started_at,
        window_begins_at=intervention.window_begins_at,
        window_ends_at=intervention.window_ends_at,
        value_before=outcome.before.mean if outcome else None,
        value_after=outcome.after.mean if outcome else None,
        outcome=outcome.verdict if outcome else None,
        difference=outcome.difference if outcome else None,
        relative_change=outcome.relative_change if outcome else None,
        reason=outcome.reason if outcome else None,
        measured_at=intervention.measured_at,
        measured_by=measured_by,
    )
