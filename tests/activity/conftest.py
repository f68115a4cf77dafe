"""The activity service under test, rolled back, and a database of a test's own, where transactions are real."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from deploy.local.postgres import EmbeddedPostgres
from services.activity.main import create
from services.activity.settings import ActivitySettings
from shared.db import SessionMaker, create_engine, create_session_maker
from tests.support.service import ServiceUnderTest, migrate, service_settings, service_under_test

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
