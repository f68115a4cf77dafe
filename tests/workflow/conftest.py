"""The workflow service under test, rolled back, and one in a database of its own, where transactions are real."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from deploy.local.postgres import EmbeddedPostgres
from services.workflow.main import create
from services.workflow.settings import WorkflowSettings
from shared.db import SessionMaker, create_engine, create_session_maker
from tests.support.service import ServiceUnderTest, migrate, service_settings, service_under_test
from tests.workflow.world import EVERYBODY, World, user_event


@pytest.fixture
async def service(postgres: EmbeddedPostgres) -> AsyncIterator[ServiceUnderTest]:
    async with service_under_test("workflow", create, WorkflowSettings, postgres) as service:
        yield service


@pytest.fixture
async def world(service: ServiceUnderTest) -> World:
    world = World(service)
    await world.hear_users(*(user_event(user) for user in EVERYBODY))
    return world


@pytest.fixture(scope="module")
def own_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The name of a migrated database that only the tests of one module see; each takes its own signals."""
    name = f"workflow_{uuid4().hex[:8]}"
    postgres.create_database(name)
    migrate("workflow", postgres.owner_url("workflow", name))
    yield name
    postgres.drop_database(name)


@pytest.fixture
async def committing(postgres: EmbeddedPostgres, own_database: str) -> AsyncIterator[SessionMaker]:
    """Sessions of the runtime role that really commit, many at a time."""
    settings = service_settings(WorkflowSettings, postgres.service_url("workflow", own_database), database_pool_size=20)
    engine = create_engine(settings, "workflow")
    yield create_session_maker(engine)
    await engine.dispose()


@pytest.fixture
async def real_world(service: ServiceUnderTest, committing: SessionMaker) -> World:
    """The same service, on sessions that really commit."""
    service.session_maker = committing
    service.app.state.session_maker = committing
    world = World(service)
    await world.hear_users(*(user_event(user) for user in EVERYBODY))
    return world
