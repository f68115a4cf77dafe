"""The signals service under test, rolled back, and one in a database of its own, where transactions are real."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from deploy.local.postgres import EmbeddedPostgres
from services.signals.main import create
from services.signals.settings import SignalsSettings
from shared.db import SessionMaker, create_engine, create_session_maker
from tests.support.service import ServiceUnderTest, migrate, service_settings, service_under_test


@pytest.fixture
async def service(postgres: EmbeddedPostgres) -> AsyncIterator[ServiceUnderTest]:
    async with service_under_test("signals", create, SignalsSettings, postgres) as service:
        yield service


@pytest.fixture
def own_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The name of a migrated database that no other test sees."""
    name = f"signals_{uuid4().hex[:8]}"
    postgres.create_database(name)
    migrate("signals", postgres.owner_url("signals", name))
    yield name
    postgres.drop_database(name)


@pytest.fixture
def settings(postgres: EmbeddedPostgres, own_database: str) -> SignalsSettings:
    """Settings for instances of the service in that database."""
    chosen: SignalsSettings = service_settings(SignalsSettings, postgres.service_url("signals", own_database))
    return chosen


@pytest.fixture
async def committing(settings: SignalsSettings) -> AsyncIterator[SessionMaker]:
    """Sessions of the runtime role that really commit, as two instances of the service have them."""
    engine = create_engine(settings, "signals")
    yield create_session_maker(engine)
    await engine.dispose()
