"""What production refuses to start with."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NoReturn

from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import repository, repository_keys
from services.auth.keys import KeyDecryptionError, KeyRing
from services.auth.settings import AuthSettings
from shared import commands
from shared.settings import load


def run(settings_class: type[AuthSettings]) -> None:
    """Stop the process, outside of local use, where an account is active whose password everybody can read, or where
    the key from the environment does not decrypt the signing keys.

    Waits for a database that is away: without it nobody can log in either.
    """
    settings = load(settings_class)
    if settings.is_local:
        return
    users, problem = asyncio.run(_look(settings))
    if users:
        _refuse(f"COMPASS_ENVIRONMENT: production refuses the active demo users {', '.join(users)}")
    if problem:
        _refuse(f"COMPASS_KEY_ENCRYPTION_KEY: {problem}")


def _refuse(why: str) -> NoReturn:
    commands.say(why)
    raise SystemExit(2)


async def _look(settings: AuthSettings) -> tuple[Sequence[str], str | None]:
    """The active demo users, and why the keys in the database cannot be used."""
    async with commands.database(settings, "auth") as maker:

        async def look() -> tuple[Sequence[str], str | None]:
            async with maker() as session:
                return await repository.active_demo_users(session), await _unusable_key(session, settings)

        return await commands.persist(look)


async def _unusable_key(session: AsyncSession, settings: AuthSettings) -> str | None:
    ring = KeyRing(*settings.key_encryption_keys)
    try:
        for row in await repository_keys.verifying(session, datetime.now(UTC)):
            ring.signer(row)
    except KeyDecryptionError as error:
        return str(error)
    return None
