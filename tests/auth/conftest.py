"""The auth service under test, with accounts, the first key, and cheap hashes."""

import base64
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from deploy.local.postgres import EmbeddedPostgres
from services.auth import demo_users, service_upkeep
from services.auth.main import create
from services.auth.settings import AuthSettings
from shared.access import Access
from shared.db import create_engine
from tests.support.service import ServiceUnderTest, service_settings, service_under_test

KEY = base64.b64encode(hashlib.sha512(b"key encryption key of the tests").digest()[:32]).decode()
TABLES = (
    "refresh_tokens",
    "sessions",
    "users",
    "signing_keys",
    "outbox",
    "event_sequences",
    "login_throttles",
    "idempotency_keys",
)
CHEAP: dict[str, Any] = {"key_encryption_key": KEY, "bcrypt_cost": 4}


@pytest.fixture
async def auth(postgres: EmbeddedPostgres) -> AsyncIterator[ServiceUnderTest]:
    """The service with its first key and the demo users."""
    async with service_under_test("auth", create, AuthSettings, postgres, **CHEAP) as service:
        tools = service.app.state.tools
        await service_upkeep.once(service.session_maker, tools)
        await demo_users.make(service.session_maker, tools.passwords)
        service.app.state.access = Access(service.settings, service.session_maker, service.app.state.access._load)
        await service.app.state.access.refresh()
        yield service


@pytest.fixture
async def client(auth: ServiceUnderTest) -> AsyncIterator[httpx.AsyncClient]:
    """A caller without a token."""
    async with auth.client(None) as client:
        yield client


@pytest.fixture(scope="session")
def _migrated_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    postgres.create_database("auth_tests")
    command = [sys.executable, "-m", "alembic", "-n", "auth", "upgrade", "head"]
    url = postgres.owner_url("auth", "auth_tests")
    subprocess.run(command, env=os.environ | {"COMPASS_MIGRATION_DATABASE_URL": url}, check=True, capture_output=True)
    yield postgres.service_url("auth", "auth_tests")
    postgres.drop_database("auth_tests")


@pytest.fixture
async def own_database(_migrated_database: str) -> AuthSettings:
    """Settings for a service on an empty database of its own, where things really commit."""
    settings: AuthSettings = service_settings(AuthSettings, _migrated_database, **CHEAP)
    engine = create_engine(settings, "auth")
    async with engine.begin() as connection:
        for table in TABLES:
            await connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - the names stand above
    await engine.dispose()
    return settings


@pytest.fixture
def configure(own_database: AuthSettings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the environment of a command."""

    def set_environment(**more: str) -> None:
        own = {
            "COMPASS_ENVIRONMENT": "local",
            "COMPASS_DATABASE_URL": str(own_database.database_url),
            "COMPASS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "COMPASS_KEY_ENCRYPTION_KEY": KEY,
            "COMPASS_BCRYPT_COST": "4",
        }
        for name, value in (own | more).items():
            monkeypatch.setenv(name, value)

    return set_environment


@pytest.fixture
async def live(own_database: AuthSettings) -> AsyncIterator[FastAPI]:
    """The service on connections of its own, where requests meet each other as they do in production."""
    app = create(own_database)
    maker = app.state.session_maker
    await service_upkeep.once(maker, app.state.tools)
    await demo_users.make(maker, app.state.tools.passwords)
    await app.state.access.refresh()
    yield app
    await maker.kw["bind"].dispose()


def caller(app: FastAPI) -> httpx.AsyncClient:
    """A caller of a service on its own connections, without a token."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://service")


async def login(
    client: httpx.AsyncClient, email: str = "clinical@demo.example", password: str = demo_users.PASSWORD, **more: Any
) -> httpx.Response:
    """A login, by default of the demo user who leads clinically."""
    return await client.post("/api/auth/login", json={"email": email, "password": password}, **more)


def bearer(access_token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"authorization": f"Bearer {access_token}"}
