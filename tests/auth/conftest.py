"""The auth service under test, with accounts, the first key, and cheap hashes."""

import base64
import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest

from deploy.local.postgres import EmbeddedPostgres
from services.auth import demo_users, upkeep
from services.auth.main import create
from services.auth.settings import AuthSettings
from shared.access import Access
from tests.support.service import ServiceUnderTest, service_under_test

KEY = base64.b64encode(hashlib.sha512(b"key encryption key of the tests").digest()[:32]).decode()


@pytest.fixture
async def auth(postgres: EmbeddedPostgres) -> AsyncIterator[ServiceUnderTest]:
    """The service with its first key and the demo users."""
    async with service_under_test(
        "auth", create, AuthSettings, postgres, key_encryption_key=KEY, bcrypt_cost=4
    ) as service:
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
