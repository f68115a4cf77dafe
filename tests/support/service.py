"""One service under test, in this process: real PostgreSQL, the real framework around its handlers, no Kafka.

Everything that a test does through it lies in one outer transaction that is rolled back at the end; what the service
believes to commit is a savepoint.
"""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID, uuid4, uuid5

import httpx
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, async_sessionmaker

from deploy.local.postgres import EmbeddedPostgres
from shared.access import Access
from shared.db import SessionMaker, create_engine
from shared.events import envelope
from shared.events.envelope import Envelope
from shared.events.vocabulary import UserRole
from shared.inbox import Message
from shared.kafka import BatchProcessor, Subscription
from shared.settings import ServiceSettings

ISSUER = AUDIENCE = "quality-compass"
SIGNING_KEY = ECKey.generate_key("P-256", {"kid": "test-key", "use": "sig", "alg": "ES256"}, private=True)

_USERS = UUID("3f0c8c4e-0a3a-4c55-9a55-0a1b2c3d4e5f")


def user_id(name: str) -> UUID:
    """The id of a test user; the users of `client(role)` are named after their role."""
    return uuid5(_USERS, name)


def token(role: UserRole | str, *, user: UUID | None = None, name: str | None = None, **claims: Any) -> str:
    """An access token as the auth service issues it, valid for five minutes unless claims say otherwise."""
    now = datetime.now(UTC)
    return jwt.encode(
        {"alg": "ES256", "kid": "test-key"},
        {
            "sub": str(user or user_id(str(role))),
            "role": str(role),
            "name": name or str(role).replace("_", " ").title(),
            "sid": str(uuid4()),
            "jti": str(uuid4()),
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int((now + timedelta(minutes=5)).timestamp()),
        }
        | claims,
        SIGNING_KEY,
        algorithms=["ES256"],
    )


@cache
def migrate(service: str, owner_url: str, revision: str = "head") -> None:
    """Bring the service's schema up to a revision, once per server."""
    subprocess.run(
        [sys.executable, "-m", "alembic", "-n", service, "upgrade", revision],
        check=True,
        env={**os.environ, "COMPASS_MIGRATION_DATABASE_URL": owner_url},
        capture_output=True,
        text=True,
    )


class ServiceUnderTest:
    """A service's application on a rolled-back transaction. Made by `service_under_test`."""

    def __init__(self, app: FastAPI, settings: ServiceSettings, connection: AsyncConnection) -> None:
        self.app = app
        self.settings = settings
        self.session_maker: SessionMaker = async_sessionmaker(
            connection, expire_on_commit=False, autoflush=False, join_transaction_mode="create_savepoint"
        )
        self._subscriptions: dict[str, Subscription] = {
            consumer.subscription.group: consumer.subscription for consumer in app.state.consumers.consumers
        }

    def client(self, role: UserRole | str | None, **token_claims: Any) -> httpx.AsyncClient:
        """A client that is logged in as the user of that role; without a token for None."""
        headers = {} if role is None else {"authorization": f"Bearer {token(role, **token_claims)}"}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://service", headers=headers)

    async def consume(self, group: str, *messages: Message) -> None:
        """Process messages as one batch of that consumer group: inbox, handler, dead letters, transaction."""
        await BatchProcessor(self.app.state.name, self._subscriptions[group], self.session_maker)(list(messages))

    async def events(self, event_type: str | None = None) -> list[Envelope]:
        """The events in the outbox, in its order; of one type only where it is named (`signal.detected`)."""
        async with self.session_maker() as session:
            rows = await session.execute(text("SELECT value FROM outbox WHERE headers IS NULL ORDER BY id"))
            events = [envelope.decode(bytes(value)) for (value,) in rows]
        return [event for event in events if event_type is None or event.type.startswith(f"compass.{event_type}.v")]

    async def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """What a query of the test's own finds, a dictionary per row."""
        async with self.session_maker() as session:
            return [dict(row) for row in (await session.execute(text(sql), parameters)).mappings()]

    async def dead_letters(self) -> list[dict[str, Any]]:
        """The stored dead letters in the order of their place in Kafka."""
        return await self.rows('SELECT * FROM dead_letters ORDER BY topic, partition, "offset"')


@asynccontextmanager
async def service_under_test(
    name: str,
    create: Callable[[Any], FastAPI],
    settings_class: type[ServiceSettings],
    postgres: EmbeddedPostgres,
    **settings: Any,
) -> AsyncIterator[ServiceUnderTest]:
    """Build the service on the test server's schema, migrated, in a transaction that is rolled back."""
    migrate(name, postgres.owner_url(name))
    chosen = service_settings(settings_class, postgres.service_url(name), **settings)
    engine = create_engine(chosen, name)
    try:
        async with engine.connect() as connection:
            outer = await connection.begin()
            service = ServiceUnderTest(create(chosen), chosen, connection)
            service.app.state.session_maker = service.session_maker
            await _know_the_test_key(service)
            yield service
            await outer.rollback()
    finally:
        await engine.dispose()


def service_settings(
    settings_class: type[ServiceSettings], database_url: str, kafka: str = "127.0.0.1:1", **more: Any
) -> Any:
    """Settings for a service in a test, without a broker unless one is named."""
    return settings_class(
        environment="local",
        database_url=database_url,
        kafka_bootstrap_servers=kafka,
        **more,
    )


async def _know_the_test_key(service: ServiceUnderTest) -> None:
    """Let the service verify `token`; the auth service, which has no such table, knows its own keys."""
    known = await service.rows("SELECT to_regclass('verification_keys') AS verification_keys")
    if known[0]["verification_keys"] is None:
        return
    async with service.session_maker() as session, session.begin():
        await session.execute(
            text("INSERT INTO verification_keys (kid, public_jwk) VALUES ('test-key', CAST(:jwk AS jsonb))"),
            {"jwk": json.dumps(SIGNING_KEY.as_dict(private=False))},
        )
    service.app.state.access = Access(service.settings, service.session_maker)
    await service.app.state.access.refresh()
