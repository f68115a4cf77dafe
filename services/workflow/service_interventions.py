"""Interventions on a signal, shown along the chain of its entity's detections."""

from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository_interventions, service_desk, service_outcomes
from services.workflow import service_events_interventions as events
from services.workflow.models import Intervention
from services.workflow.schemas_interventions import InterventionPage, InterventionRequest, InterventionView
from services.workflow.settings import OutcomeSettings
from shared import outbox
from shared.auth import User
from shared.db import AnySession
from shared.errors import FieldProblem, InvalidError
from shared.pagination import cut, decode_cursor

_LONGEST_AHEAD: Final = timedelta(days=1)


async def activate(
    session: AsyncSession, user: User, signal_id: UUID, request: InterventionRequest, rules: OutcomeSettings
) -> InterventionView:
    """Begin an intervention on a signal, whether or not anybody is assigned to it.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
        ConflictError: ``superseded``.
        InvalidError: ``starts_in_the_future``.
    """
    desk = await service_desk.lock(session, user, [signal_id])
    signal = desk.work(signal_id).signal
    started_at = request.started_at or desk.now
    if started_at > desk.now + _LONGEST_AHEAD:
        detail = "An intervention that is activated starts within a day."
        problem = FieldProblem(pointer="/body/started_at", detail=detail)
        raise InvalidError(detail, "starts_in_the_future", errors=[problem])
    after = timedelta(days=request.after_days or rules.after_days)
    intervention = Intervention(
        id=uuid4(),
        signal_id=signal_id,
        entity_id=signal.entity_id,
        kind=request.kind,
        title=request.title,
        notes=request.notes,
        started_at=started_at,
        window_begins_at=started_at - timedelta(days=request.before_days or rules.before_days),
        window_ends_at=started_at + after,
        # One that is entered for a time long past, while the data of that time still comes, waits for it as long.
        measure_by=max(started_at, desk.now) + after,
        created_by=user.id,
        created_by_name=user.name,
        version=1,
        created_at=desk.now,
        updated_at=desk.now,
    )
    await repository_interventions.store(session, intervention)
    await outbox.publish(session, events.activated(signal, intervention))
    return await service_outcomes.view(session, intervention, rules)


async def page(
    session: AnySession, signal_id: UUID, cursor: str | None, limit: int, rules: OutcomeSettings
) -> InterventionPage:
    """Interventions, the latest begun first; the same for every detection of the entity.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
        InvalidError: ``bad_cursor``.
    """
    after = decode_cursor(cursor, repository_interventions.Key) if cursor else None
    found = await repository_interventions.page(session, signal_id, after, limit + 1)
    if found is None:
        raise service_desk.not_known_yet()
    shown, following = cut(found, limit, lambda intervention: (intervention.started_at, intervention.id))
    return InterventionPage(
        interventions=await service_outcomes.views(session, shown, rules),
        limit=limit,
        cursor=following,
        has_more=following is not None,
    )
