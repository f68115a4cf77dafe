"""The auth service under test, with accounts, the first key, and cheap hashes."""

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from deploy.local.postgres import EmbeddedPostgres
from services.auth import demo_users, upkeep
from services.auth.main import create
from services.auth.settings import AuthSettings
from shared.access import Access
from tests.support.service import ServiceUnderTest, migrate, service_settings, service_under_test

KEY = base64.b64encode(hashlib.sha512(b"key encryption key of the tests").digest()[:32]).decode()
CHEAP: dict[str, Any] = {"key_encryption_key": KEY, "bcrypt_cost": 4}


@pytest.fixture
async def auth(postgres: EmbeddedPostgres) -> AsyncIterator[ServiceUnderTest]:
    """The service with its first key and the demo users."""
    async with service_under_test("auth", create, AuthSettings, postgres, **CHEAP) as service:
        tools = service.app.state.tools
        await upkeep.once(service.session_maker, tools)
        await demo_users.make(service.session_maker, tools.passwords)
        service.app.state.access = Access(service.settings, service.session_maker, service.app.state.access._load)
        await service.app.state.access.refresh()
        yield service


@pytest.fixture
async def client(auth: ServiceUnderTest) -> AsyncIterator[httpx.AsyncClient]:
    """A caller without a token."""
    async with auth.client(None) as client:
        yield client


@pytest.fixture
def own_database(postgres: EmbeddedPostgres) -> Any:
    """Settings for a service on an empty database of its own, where things really commit."""
    postgres.create_database("auth_tests")
    migrate("auth", postgres.owner_url("auth", "auth_tests"))
    yield service_settings(AuthSettings, postgres.service_url("auth", "auth_tests"), **CHEAP)
    migrate.cache_clear()
    postgres.drop_database("auth_tests")


async def login(
    client: httpx.AsyncClient, email: str = "clinical@demo.example", password: str = demo_users.PASSWORD, **more: Any
) -> httpx.Response:
    """A login, by default of the demo user who leads clinically."""
    return await client.post("/api/auth/login", json={"email": email, "password": password}, **more)


def bearer(access_token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"authorization": f"Bearer {access_token}"}
