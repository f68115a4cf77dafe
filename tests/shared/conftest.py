"""A schema with the tables that services share, and nothing else: for the tests of outbox, inbox and consumption."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.postgres import EmbeddedPostgres
from shared.db import SessionMaker, create_engine, create_session_maker
from shared.migrations import OUTBOX_NOTIFY_V1, OUTBOX_NOTIFY_V2, OUTBOX_TRIGGER_V1
from shared.settings import ServiceSettings
from shared.tables import ACCESS_TABLES, CONSUMER_TABLES, IDEMPOTENCY_TABLES, PRODUCER_TABLES
from tests.support.service import service_settings

SCHEMA = "shared_test"


@pytest.fixture
def settings(postgres: EmbeddedPostgres) -> ServiceSettings:
    """Settings of a service that has the shared tables only; without a broker."""
    made: ServiceSettings = service_settings(ServiceSettings, postgres.admin_url)
    return made


@pytest.fixture
async def engine(settings: ServiceSettings) -> AsyncIterator[AsyncEngine]:
    """An engine on a schema made anew for each test."""
    engine = create_engine(settings, SCHEMA)
    metadata = MetaData()
    for table in (*PRODUCER_TABLES, *CONSUMER_TABLES, *ACCESS_TABLES, *IDEMPOTENCY_TABLES):
        table.to_metadata(metadata)
    async with engine.begin() as connection:
        await connection.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))
        await connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        await connection.run_sync(metadata.create_all)
        await connection.execute(text(OUTBOX_NOTIFY_V1))
        await connection.execute(text(OUTBOX_NOTIFY_V2))
        await connection.execute(text(OUTBOX_TRIGGER_V1))
        await connection.execute(text("CREATE TABLE effects (number bigserial, partition int, value text)"))
    yield engine
    await engine.dispose()


@pytest.fixture
def session_maker(engine: AsyncEngine) -> SessionMaker:
    """Sessions that really commit."""
    return create_session_maker(engine)


@pytest.fixture
def query(session_maker: SessionMaker) -> Callable[..., Awaitable[list[Any]]]:
    """Run a query of the test's own in a transaction of its own."""

    async def run(sql: str, **parameters: Any) -> list[Any]:
        async with session_maker() as session:
            return list((await session.execute(text(sql), parameters)).all())

    return run
