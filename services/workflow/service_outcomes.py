"""The outcome of an intervention: measured once, when its window ends or when somebody asks for it.

A window ends when a detection of the entity has reached its end, so that months that are published one after the other
are measured as they come, whenever that is; or, where none comes any more, when the time is up. What arrives afterwards
changes nothing: the outcome says when it was measured.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository_interventions
from services.workflow import service_events_interventions as events
from services.workflow.models import Intervention, KnownSignal
from services.workflow.repository_interventions import Detection, InterventionRow
from services.workflow.schemas import PersonView
from services.workflow.schemas_interventions import InterventionView, OutcomeView, TargetRangeView
from services.workflow.service_measurement import Reading, Windows, measure
from services.workflow.settings import OutcomeSettings
from shared import outbox
from shared.auth import User
from shared.db import AnySession, SessionMaker
from shared.errors import ConflictError, NotFoundError
from shared.events.workflow import InterventionOutcome
from shared.preconditions import Precondition
from shared.supervision import look_again

_BATCH: Final = 100


async def fix(
    session: AsyncSession, user: User, intervention_id: UUID, if_match: Precondition | None, rules: OutcomeSettings
) -> InterventionView:
    """Measure the outcome now, for good.

    Raises:
        NotFoundError: there is no such intervention.
        PreconditionFailedError: the version is another one.
        ConflictError: ``already_measured``, or ``not_enough_data`` while there is nothing to fix.
    """
    entity_id = await repository_interventions.entity_of(session, intervention_id)
    if entity_id is None:
        raise NotFoundError("There is no intervention with this id.")
    current: dict[UUID, KnownSignal] = {}
    while not current:  # one that was replaced while this waited; the next look sees the newer one
        current = await repository_interventions.lock_current(session, [entity_id])
    intervention = await repository_interventions.find(session, intervention_id)
    if if_match is not None:
        if_match.require(etag(intervention))
    if intervention.measured_at is not None:
        raise ConflictError("The outcome has been measured, and stays as it is.", "already_measured")
    outcome = await _measured(session, intervention, rules)
    if outcome.verdict is InterventionOutcome.NOT_ENOUGH_DATA:
        raise ConflictError(f"There is nothing to fix yet. {outcome.reason}", "not_enough_data")
    await _settle(session, intervention, current[entity_id], outcome, user)
    return await view(session, intervention, rules)


async def measure_due(session: AsyncSession, now: datetime, rules: OutcomeSettings) -> int:
    """Measure interventions whose window has ended; how many were. Those that somebody else is at are left for later.

    The signal is locked before its interventions are read, as every writer does: each is measured once, whoever else
    runs this at the same time.
    """
    due = await repository_interventions.due(session, now, _BATCH)
    if not due:
        return 0
    current = await repository_interventions.lock_current(session, {one.entity_id for one in due}, skip_locked=True)
    ready = await repository_interventions.unmeasured(session, [one.id for one in due if one.entity_id in current])
    for intervention in ready:
        outcome = await _measured(session, intervention, rules)
        await _settle(session, intervention, current[intervention.entity_id], outcome, None)
    return len(ready)


async def measure_outcomes(app: FastAPI) -> None:
    """Measure by itself what is due, until cancelled; a database that is away is waited for."""
    maker: SessionMaker = app.state.session_maker
    rules: OutcomeSettings = app.state.settings.outcome

    async def look() -> bool:
        async with maker() as session, session.begin():
            return await measure_due(session, datetime.now(UTC), rules) > 0

    await look_again("outcomes", look, rules.check_seconds)


async def view(session: AsyncSession, intervention: Intervention, rules: OutcomeSettings) -> InterventionView:
    """The intervention as the API shows it; while it is not measured, with what measuring it now would say."""
    (shown,) = await views(session, [intervention], rules)
    return shown


async def views(
    session: AnySession, interventions: Sequence[Intervention | InterventionRow], rules: OutcomeSettings
) -> list[InterventionView]:
    """As `view`, several of one entity."""
    open_ones = [one for one in interventions if one.measurement is None]
    detections = await _detections(session, open_ones)
    return [_view(one, _measure(one, detections, rules) if one.measurement is None else None) for one in interventions]


def _view(intervention: Intervention | InterventionRow, so_far: OutcomeView | None) -> InterventionView:
    outcome = intervention.measurement
    measured_by = None
    if intervention.measured_by is not None:
        measured_by = PersonView(id=intervention.measured_by, name=intervention.measured_by_name or "")
    return InterventionView(
        id=intervention.id,
        signal_id=intervention.signal_id,
        entity_id=intervention.entity_id,
        kind=intervention.kind,
        title=intervention.title,
        notes=intervention.notes,
        started_at=intervention.started_at,
        window_begins_at=intervention.window_begins_at,
        window_ends_at=intervention.window_ends_at,
        measured_at_the_latest=intervention.measure_by,
        outcome=None if outcome is None else OutcomeView.model_validate(outcome),
        so_far=so_far,
        measured_at=intervention.measured_at,
        measured_by=measured_by,
        created_by=PersonView(id=intervention.created_by, name=intervention.created_by_name),
        created_at=intervention.created_at,
        etag=etag(intervention),
    )


def etag(intervention: Intervention | InterventionRow) -> str:
    """The version of an intervention."""
    return f'"{intervention.version}"'


async def _measured(session: AsyncSession, intervention: Intervention, rules: OutcomeSettings) -> OutcomeView:
    return _measure(intervention, await _detections(session, [intervention]), rules)


async def _detections(
    session: AnySession, interventions: Sequence[Intervention | InterventionRow]
) -> Sequence[Detection]:
    """The detections in the windows of some interventions, all of one entity."""
    if not interventions:
        return ()
    since = min(intervention.window_begins_at for intervention in interventions)
    until = max(intervention.window_ends_at for intervention in interventions)
    return await repository_interventions.detections(session, interventions[0].entity_id, since, until)


def _measure(
    intervention: Intervention | InterventionRow, detections: Sequence[Detection], rules: OutcomeSettings
) -> OutcomeView:
    windows = Windows(intervention.window_begins_at, intervention.started_at, intervention.window_ends_at)
    readings = [Reading(one.detected_at, one.value, one.peer_mean, one.polarity, one.signal_type) for one in detections]
    # An entity's detections are all of one metric.
    return measure(readings, windows, _target_range(detections[-1]) if detections else None, rules)


def _target_range(detection: Detection) -> TargetRangeView | None:
    if detection.target_low is None or detection.target_high is None:
        return None
    return TargetRangeView(low=detection.target_low, high=detection.target_high)


async def _settle(
    session: AsyncSession, intervention: Intervention, current: KnownSignal, outcome: OutcomeView, user: User | None
) -> None:
    """Write the outcome and tell of it, at the entity's current detection, which the caller has locked."""
    intervention.outcome = outcome.verdict
    intervention.value_before = _decimal(outcome.before.mean)
    intervention.value_after = _decimal(outcome.after.mean)
    intervention.measurement = outcome.model_dump(mode="json")
    intervention.measured_at = intervention.updated_at = datetime.now(UTC)
    if user is not None:
        intervention.measured_by, intervention.measured_by_name = user.id, user.name
    intervention.version += 1
    await repository_interventions.store(session, intervention)
    await outbox.publish(session, events.measured(current, intervention, outcome))


def _decimal(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(repr(value))
