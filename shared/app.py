"""One way to build and run a service: lifespan, health, metrics, error answers."""

import asyncio
import gc
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from shared import auth, errors, observation, supervision, telemetry, tracing_export
from shared.abandonment import EndsWithItsClient
from shared.access import Access, AccessLoader
from shared.db import create_engine, create_reading_pool, create_session_maker
from shared.kafka import Consumers, Subscription
from shared.relay import Relay
from shared.schema import schema_problem
from shared.settings import ServiceSettings, Settings, load

logger = structlog.get_logger(__name__)

_START_FAILED: Final = 3

Worker = Callable[[FastAPI], Coroutine[Any, Any, None]]
"""Something that runs as long as the service does, for example a schedule."""


def create_app(
    settings: ServiceSettings,
    *,
    name: str,
    description: str,
    routers: Sequence[APIRouter],
    subscriptions: Sequence[Subscription] = (),
    workers: Sequence[Worker] = (),
    load_access: AccessLoader | None = None,
) -> FastAPI:
    """Build a service. Nothing connects or reads the environment before the lifespan starts.

    ``name`` is also the database schema. ``load_access`` replaces where verification keys and revocations come from:
    by default the tables that the service keeps from ``compass.auth.v1``.
    """
    engine = create_engine(settings, name)
    session_maker = create_session_maker(engine)
    consumers = Consumers(name, settings, subscriptions, session_maker)
    relay = Relay(settings, name)
    access = Access(settings, session_maker, *([load_access] if load_access else []))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        exporting = tracing_export.start(name)
        app.state.reading_pool = await create_reading_pool(settings, name)
        app.state.background = [
            supervision.Supervised("relay", relay.run),
            supervision.Supervised("access", access.run),
            supervision.Supervised("observation", partial(observation.observe, app, engine)),
            *(supervision.Supervised(worker.__name__, partial(worker, app)) for worker in workers),
        ]
        background = [asyncio.create_task(work.run(), name=work.name) for work in app.state.background]
        consumers.start()
        settle_garbage_collector()
        logger.info("started", service=name)
        yield
        await consumers.stop()
        await supervision.end_all(background)
        await engine.dispose()
        app.state.reading_pool.terminate()
        if exporting is not None:
            await exporting.stop()
        logger.info("stopped", service=name)

    app = FastAPI(
        title=f"Quality Compass: {name}",
        description=description,
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        responses={"default": {"model": errors.Problem, "description": "Problem details"}},
    )
    app.state.settings = settings
    app.state.session_maker = session_maker
    app.state.access = access
    app.state.consumers = consumers
    app.state.name = name
    app.state.stopping = asyncio.Event()
    errors.install(app)
    app.add_middleware(EndsWithItsClient)
    # Added last, it stands outermost: what happens inside has the request's ids.
    app.add_middleware(telemetry.RequestContext)
    auth.install(app)
    app.include_router(_operations)
    for router in routers:
        app.include_router(router)
    return app


def settle_garbage_collector() -> None:
    """Keep the collector from looking at what start-up made, which stays, and from looking often.

    With Python's own thresholds it took a third of the time of ingest, and made single requests wait for 50 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


_operations = APIRouter(include_in_schema=False)


@_operations.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@_operations.get("/readyz")
async def readyz(request: Request, response: Response) -> dict[str, Any]:
    """Whether the service can do all its work: answer requests, make progress with messages, keep its workers going."""
    state = request.app.state
    problems = await _problems_of_requests(request)
    problems += [f"consumer {group} does not progress" for group in state.consumers.unhealthy]
    problems += [f"{work.name} is down" for work in state.background if work.is_down]
    return _readiness(problems, response)


@_operations.get("/readyz/requests")
async def ready_for_requests(request: Request, response: Response) -> dict[str, Any]:
    """Whether requests can be answered, for who sends them here: without Kafka, too, what is stored can be read."""
    return _readiness(await _problems_of_requests(request), response)


async def _problems_of_requests(request: Request) -> list[str]:
    """What every request needs: the database, the schema at head, keys to verify tokens with."""
    state = request.app.state
    problems: list[str] = []
    try:
        async with asyncio.timeout(5), state.session_maker() as session:
            schema = await schema_problem(session, state.name)
        problems += [schema] if schema else []
    except (SQLAlchemyError, OSError) as error:
        problems.append(f"database: {type(error).__name__}")
    if not state.access.ready:
        problems.append("no key to verify tokens with is known yet")
    return problems


def _readiness(problems: list[str], response: Response) -> dict[str, Any]:
    if problems:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return {"status": "unavailable" if problems else "ok", "problems": problems}


@_operations.get("/metrics")
async def metrics() -> Response:
    """Prometheus metrics."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def run(create: Callable[[Settings], FastAPI], settings_class: type[Settings], port: Callable[[Settings], int]) -> None:
    """Run a service as this process until SIGTERM; requests and batches in hand are finished first."""
    settings = load(settings_class)
    app = create(settings)
    telemetry.configure_logging(app.state.name, app.state.settings.log_level)
    config = uvicorn.Config(
        app,
        host=app.state.settings.bind_host,
        port=port(settings),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=15,
        server_header=False,
        loop="uvloop",
        http="httptools",
    )
    server = _Server(config, app)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(_START_FAILED)


class _Server(uvicorn.Server):
    """Says in ``app.state.stopping`` that it stops, so that answers which go on and on can end by themselves."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what runs; called once, after the signal to stop."""
        self._app.state.stopping.set()
        await super().shutdown(sockets)
