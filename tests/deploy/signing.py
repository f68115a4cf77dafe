"""The auth service's own signing key, for tokens that it would never issue."""

import asyncio
import base64

import asyncpg

from services.auth.keys import KeyRing, Signer
from services.auth.models import SigningKey
from tests.auth.conftest import KEY


def stored_signer(database_url: str) -> Signer:
    """The key that signs in this database."""
    [row] = fetch(database_url, "SELECT kid, encrypted_private_key, encrypted_data_key FROM signing_keys")
    return KeyRing(base64.b64decode(KEY)).signer(SigningKey(**dict(row)))


def fetch(database_url: str, sql: str) -> list[asyncpg.Record]:
    """What a query finds in the schema of the auth service."""

    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(database_url, server_settings={"search_path": "auth"})
        try:
            return await connection.fetch(sql)
        finally:
            await connection.close()

    return asyncio.run(run())
