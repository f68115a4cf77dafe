"""The activity service under test, rolled back, and one in a database of its own, where transactions are real."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from deploy.local.postgres import EmbeddedPostgres
from services.activity.main import create
from services.activity.settings import ActivitySettings
from shared.db import SessionMaker, create_engine, create_session_maker
from tests.support.service import ServiceUnderTest, migrate, service_settings, service_under_test


@pytest.fixture
async def service(postgres: EmbeddedPostgres) -> AsyncIterator[ServiceUnderTest]:
    async with service_under_test("activity", create, ActivitySettings, postgres) as service:
        yield service


@pytest.fixture
def own_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The name of a migrated database that no other test sees."""
    name = f"activity_{uuid4().hex[:8]}"
    postgres.create_database(name)
    migrate("activity", postgres.owner_url("activity", name))
    yield name
    postgres.drop_database(name)


@pytest.fixture
async def committing(postgres: EmbeddedPostgres, own_database: str) -> AsyncIterator[SessionMaker]:
    """Sessions of the runtime role that really commit, as two instances of the service have them."""
    settings = service_settings(ActivitySettings, postgres.service_url("activity", own_database))
    engine = create_engine(settings, "activity")
    yield create_session_maker(engine)
    await engine.dispose()
