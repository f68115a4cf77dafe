"""HTTP in: the metric registry."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Response

from services.signals import repository_metrics, service_metrics
from services.signals.schemas import ETAG
from services.signals.schemas_metrics import MetricEdit, MetricId, MetricList, MetricView, RecomputationView
from shared.auth import Permission, User, require
from shared.db import DbSession
from shared.idempotency import Answer, OnceOnly, once
from shared.preconditions import IfMatch

router = APIRouter(prefix="/api/metrics", tags=["metrics"])

Reader = Annotated[User, require(Permission.READ)]
Manager = Annotated[User, require(Permission.MANAGE_METRICS)]
InPath = Annotated[MetricId, Path(description="As the engine names the metric.", examples=["losIndex"])]


@router.get("")
async def list_metrics(_: Reader, session: DbSession) -> MetricList:
    """Every metric of the registry. A metric that is not in it counts as `lower_is_better`."""
    return MetricList(metrics=[service_metrics.view(metric) for metric in await repository_metrics.every(session)])


@router.get("/{metric_id}", responses={200: {"headers": ETAG}})
async def get_metric(metric_id: InPath, _: Reader, session: DbSession, response: Response) -> MetricView:
    """One metric of the registry."""
    metric = await service_metrics.get(session, metric_id)
    response.headers["etag"] = service_metrics.etag(metric)
    return service_metrics.view(metric)


@router.put("/{metric_id}", response_model=MetricView, responses={200: {"headers": ETAG}})
async def put_metric(
    metric_id: InPath,
    user: Manager,
    change: MetricEdit,
    if_match: IfMatch,
    attempt: OnceOnly,
    session: DbSession,
) -> Response:
    """Register a metric, or replace what is registered of it.

    Signals that are ingested from then on are classified by its polarity, unless the engine sends one. Where polarity
    or target range change, the stored signals follow in the background; `/recomputation` tells how far that is.
    """

    async def put() -> Answer:
        metric = await service_metrics.put(session, user, metric_id, change, if_match)
        body = service_metrics.view(metric).model_dump_json().encode()
        return Answer(HTTPStatus.OK, body, service_metrics.etag(metric))

    return await once(session, user, attempt, put)


@router.get("/{metric_id}/recomputation")
async def get_recomputation(metric_id: InPath, _: Reader, session: DbSession) -> RecomputationView:
    """How far the metric's stored signals have followed the last change of its polarity or target range."""
    return await service_metrics.recomputation(session, metric_id)
