"""The activity service under test, rolled back, and a database of a test's own, where transactions are real."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from uuid import uuid4

import asyncpg
import pytest
import uvicorn
from sqlalchemy import text

from deploy.local.ports import free_port
from deploy.local.postgres import EmbeddedPostgres
from services.activity.main import create
from services.activity.settings import ActivitySettings
from shared.access import Access
from shared.db import SessionMaker, create_engine, create_session_maker
from tests.activity.reads import fill
from tests.activity.streams import Instance
from tests.support.eventually import eventually
from tests.support.service import SIGNING_KEY, ServiceUnderTest, migrate, service_settings, service_under_test

_TEMPLATE = "activity_template"


@pytest.fixture
async def service(postgres: EmbeddedPostgres) -> AsyncIterator[ServiceUnderTest]:
    async with service_under_test("activity", create, ActivitySettings, postgres) as service:
        yield service


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a migrated database to copy: that is much faster than migrating another one."""
    postgres.create_database(_TEMPLATE)
    migrate("activity", postgres.owner_url("activity", _TEMPLATE))
    return _TEMPLATE


@pytest.fixture
async def own_database(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[str]:
    """The name of a migrated database that no other test sees."""
    name = f"activity_{uuid4().hex[:8]}"
    admin = await asyncpg.connect(postgres.admin_url)
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield name
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@pytest.fixture
async def committing(postgres: EmbeddedPostgres, own_database: str) -> AsyncIterator[SessionMaker]:
    """Sessions of the runtime role that really commit, as two instances of the service have them."""
    settings = service_settings(ActivitySettings, postgres.service_url("activity", own_database))
    engine = create_engine(settings, "activity")
    yield create_session_maker(engine)
    await engine.dispose()


@pytest.fixture
async def feed(committing: SessionMaker) -> SessionMaker:
    """Sessions on a feed with several blocks of events."""
    await fill(committing)
    return committing


@pytest.fixture
async def instances(
    postgres: EmbeddedPostgres, own_database: str, committing: SessionMaker
) -> AsyncIterator[Sequence[Instance]]:
    """Two instances of the service on one database."""
    async with committing() as session, session.begin():
        await session.execute(
            text("INSERT INTO verification_keys (kid, public_jwk) VALUES ('test-key', CAST(:jwk AS jsonb))"),
            {"jwk": json.dumps(SIGNING_KEY.as_dict(private=False))},
        )
    settings = service_settings(ActivitySettings, postgres.service_url("activity", own_database))
    started, tasks, servers = [], [], []
    for _ in range(2):
        app = create(settings)
        app.state.session_maker = committing
        app.state.access = Access(settings, committing)
        await app.state.access.refresh()
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_config=None))
        servers.append(server)
        tasks += [asyncio.create_task(server.serve()), asyncio.create_task(app.state.hub.run(app))]
        started.append(Instance(app, f"http://127.0.0.1:{port}"))

    async def up() -> bool:
        return all(server.started for server in servers)

    await eventually(up)
    yield started
    for server in servers:
        server.should_exit = server.force_exit = True
    for task in tasks[1::2]:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
