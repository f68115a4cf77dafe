"""The metric registry: what metrics are called, and which direction is better."""

from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncSession

from services.signals import repository_metrics, repository_recompute, repository_states, service_recompute
from services.signals.models import Metric
from services.signals.schemas_metrics import (
    MetricEdit,
    MetricView,
    RecomputationState,
    RecomputationView,
    TargetRange,
)
from services.signals.service_validation import rounded
from shared import outbox
from shared.auth import User
from shared.errors import FieldProblem, InvalidError, NotFoundError, PreconditionFailedError
from shared.events import signals as events
from shared.events.decoding import RejectedMessageError
from shared.events.vocabulary import MetricPolarity
from shared.preconditions import Precondition

_NAMESPACE: Final = UUID("0b8c2f64-6f0e-5f0b-9d26-5b1d4a8f7c33")


def subject(metric_id: str) -> UUID:
    """The subject and key of a metric's events."""
    return uuid5(_NAMESPACE, metric_id)


def view(metric: Metric) -> MetricView:
    """A metric as the API shows it."""
    return MetricView(
        metric_id=metric.metric_id,
        display_name=metric.display_name,
        domain=metric.domain,
        unit=metric.unit,
        polarity=metric.polarity,
        target_range=_range(metric),
        created_at=metric.created_at,
        updated_at=metric.updated_at,
    )


def etag(metric: Metric) -> str:
    """The version of a metric."""
    return f'"{metric.event_sequence}"'


async def get(session: AsyncSession, metric_id: str) -> Metric:
    """A registered metric.

    Raises:
        NotFoundError: for any other.
    """
    metric = await repository_metrics.one(session, metric_id)
    if metric is None:
        raise NotFoundError("There is no metric with this id in the registry.")
    return metric


async def put(
    session: AsyncSession, user: User, metric_id: str, change: MetricEdit, if_match: Precondition | None
) -> Metric:
    """Register a metric or replace what is registered of it.

    Signals that come from now on are classified by it. Where the direction changes, the stored ones follow in the
    background (`recomputation` tells how far).

    Raises:
        InvalidError: for a target range that is none, or that the polarity does not have.
        PreconditionFailedError: where it is not the version that the user saw.
    """
    low, high = _bounds(change)
    present = await repository_metrics.locked(session, metric_id)
    if if_match is not None:
        if present is None:
            raise PreconditionFailedError("The metric is not registered yet: there is no version to match.")
        if_match.require(etag(present))
    values = {
        "display_name": change.display_name,
        "domain": change.domain,
        "unit": change.unit,
        "polarity": change.polarity,
        "target_low": low,
        "target_high": high,
    }
    changed = [name for name, value in values.items() if present is None or getattr(present, name) != value]
    if present is not None and not changed:
        return present
    # Asked before it is stored: then it is the present one that holds the new values.
    turns = _turns(present, values)
    sequence = 1 if present is None else present.event_sequence + 1
    metric = await repository_metrics.store(session, metric_id, user.id, sequence, **values)
    await outbox.publish(session, _event(metric, user, [] if sequence == 1 else changed))
    if turns:
        await _follow(session, metric_id, sequence)
    return metric


async def take_over(session: AsyncSession, told: events.MetricChanged, sequence: int, user_id: UUID | None) -> None:
    """Register a metric as an event told it that this database does not know any more; stored signals follow."""
    present = await repository_metrics.locked(session, told.metric_id)
    target = told.target_range
    values = {
        "display_name": told.display_name,
        "domain": told.domain,
        "unit": told.unit,
        "polarity": told.polarity,
        "target_low": None if target is None else Decimal(repr(target.low)),
        "target_high": None if target is None else Decimal(repr(target.high)),
    }
    turns = _turns(present, values)
    await repository_metrics.store(session, told.metric_id, user_id, sequence, **values)
    if turns:
        await _follow(session, told.metric_id, sequence)


async def _follow(session: AsyncSession, metric_id: str, sequence: int) -> None:
    """Have the metric's stored signals classified anew."""
    await repository_recompute.request(session, service_recompute.scope_of(metric_id), metric_id, str(sequence))


async def recomputation(session: AsyncSession, metric_id: str) -> RecomputationView:
    """How far the metric's stored signals have followed the last change of its direction.

    Raises:
        NotFoundError: where no change of it ever asked for that.
    """
    job = await repository_recompute.one(session, service_recompute.scope_of(metric_id))
    if job is None:
        raise NotFoundError("No change of this metric ever touched stored signals.")
    state = RecomputationState.FINISHED
    if job.finished_at is None:
        state = RecomputationState.RUNNING if job.examined else RecomputationState.WAITING
    counts = [await repository_states.count(session, current=which, metric_id=metric_id) for which in (True, False)]
    return RecomputationView(
        metric_id=metric_id,
        state=state,
        total=sum(counts),
        examined=job.examined,
        changed=job.changed,
        requested_at=job.requested_at,
        finished_at=job.finished_at,
    )


def _turns(present: Metric | None, values: dict[str, Any]) -> bool:
    """Whether stored signals would be classified otherwise: a metric that is not registered has the default."""
    before: tuple[Any, ...] = (MetricPolarity.LOWER_IS_BETTER, None, None)
    if present is not None:
        before = (present.polarity, present.target_low, present.target_high)
    return before != (values["polarity"], values["target_low"], values["target_high"])


def _bounds(change: MetricEdit) -> tuple[Decimal | None, Decimal | None]:
    target = change.target_range
    if target is None:
        return None, None
    if change.polarity is not MetricPolarity.TARGET_RANGE:
        raise _invalid("target_range", "Only the polarity target_range has a target range.")
    try:
        low, high = rounded("low", target.low, 10, 4), rounded("high", target.high, 10, 4)
    except RejectedMessageError as error:
        raise _invalid("target_range", error.detail) from None
    if low is None or high is None or low > high:
        raise _invalid("target_range", "low must not be above high.")
    return Decimal(repr(low)), Decimal(repr(high))


def _invalid(name: str, detail: str) -> InvalidError:
    return InvalidError(detail, errors=[FieldProblem(pointer=f"/body/{name}", detail=detail)])


def _range(metric: Metric) -> TargetRange | None:
    if metric.target_low is None or metric.target_high is None:
        return None
    return TargetRange(low=float(metric.target_low), high=float(metric.target_high))


def _event(metric: Metric, user: User, changed: list[str]) -> outbox.Event:
    verb = "changed" if changed else "registered"
    return outbox.Event(
        type=events.METRIC_CHANGED,
        subject=subject(metric.metric_id),
        key=subject(metric.metric_id),
        sequence=metric.event_sequence,
        actor_id=user.id,
        summary=f"{user.name} {verb} the metric {metric.display_name}.",
        data=_data(metric, changed),
    )


def snapshot(metric: Metric) -> outbox.Event:
    """The metric's present state, for a consumer that came late."""
    return outbox.Event(
        type=events.METRIC_SNAPSHOT,
        subject=subject(metric.metric_id),
        key=subject(metric.metric_id),
        sequence=metric.event_sequence,
        data=_data(metric, []),
    )


def _data(metric: Metric, changed: list[str]) -> events.MetricChanged:
    bounds = _range(metric)
    names = [name for name in changed if not name.startswith("target_")]
    if len(names) < len(changed):
        names.append("target_range")
    return events.MetricChanged(
        metric_id=metric.metric_id,
        display_name=metric.display_name,
        domain=metric.domain,
        unit=metric.unit,
        polarity=metric.polarity,
        target_range=events.TargetRange(bounds.low, bounds.high) if bounds else None,
        changed=names,
    )
