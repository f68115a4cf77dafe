"""The auth service's own signing key, for tokens that it would never issue."""

import asyncio
import base64

import asyncpg

from services.auth.keys import KeyRing, Signer
from services.auth.models import SigningKey
from tests.auth.conftest import KEY


def stored_signer(database_url: str, key: str = KEY) -> Signer:
    """The key that signs now in this database, whose keys are encrypted with ``key``."""
    [row] = fetch(database_url, "SELECT * FROM signing_keys WHERE signs_from <= now() ORDER BY signs_from DESC LIMIT 1")
    return KeyRing(base64.b64decode(key)).signer(SigningKey(**dict(row)))


def fetch(database_url: str, sql: str) -> list[asyncpg.Record]:
    """What a query finds in the schema of the auth service."""

    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(database_url, server_settings={"search_path": "auth"})
        try:
            return await connection.fetch(sql)
        finally:
            await connection.close()

    return asyncio.run(run())
