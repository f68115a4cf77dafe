"""What production refuses to start with."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Final

from services.auth import repository
from services.auth.settings import AuthSettings
from shared.db import create_engine, create_session_maker, is_transient
from shared.settings import load

_RETRY_SECONDS: Final = 1.0


def run(settings_class: type[AuthSettings]) -> None:
    """Stop the process, outside of local use, where an account is active whose password everybody can read.

    Waits for a database that is away: without it nobody can log in either.
    """
    settings = load(settings_class)
    if settings.is_local:
        return
    users = asyncio.run(_active_demo_users(settings))
    if users:
        print(f"COMPASS_ENVIRONMENT: production refuses the active demo users {', '.join(users)}", file=sys.stderr)  # noqa: T201 - before logging exists
        raise SystemExit(2)


async def _active_demo_users(settings: AuthSettings) -> Sequence[str]:
    engine = create_engine(settings, "auth")
    try:
        while True:
            try:
                async with create_session_maker(engine)() as session:
                    return await repository.active_demo_users(session)
            except Exception as error:
                if not is_transient(error):
                    raise
                await asyncio.sleep(_RETRY_SECONDS)
    finally:
        await engine.dispose()
