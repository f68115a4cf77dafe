"""The demo users of a local stack: ``python -m services.auth.demo_users``, as often as one likes."""

import asyncio
import sys
from typing import Final

from services.auth import repository, service_users
from services.auth.passwords import Passwords
from services.auth.settings import AuthSettings
from services.auth.turns import Caller
from shared.db import SessionMaker, create_engine, create_session_maker
from shared.events.vocabulary import UserRole
from shared.settings import load

PASSWORD: Final = "quality-compass"  # noqa: S105 - public, and refused outside of local use

USERS: Final = {
    "admin@demo.example": ("Demo Admin", UserRole.ADMIN),
    "clinical@demo.example": ("Demo Clinical Leadership", UserRole.CLINICAL_LEADERSHIP),
    "nursing@demo.example": ("Demo Nursing Leadership", UserRole.NURSING_LEADERSHIP),
    "administration@demo.example": ("Demo Administration", UserRole.ADMINISTRATION),
    "viewer@demo.example": ("Demo Viewer", UserRole.VIEWER),
}


async def make(maker: SessionMaker, passwords: Passwords) -> list[str]:
    """Make those that are missing; answers their addresses. An existing account stays as it is."""
    made = []
    for email, (name, role) in USERS.items():
        async with maker() as session:
            if await repository.find_by_email(session, email):
                continue
        async with passwords.turn(Caller(email, is_known=True)) as turn:
            hashed = await turn.hash(PASSWORD)
        async with maker() as session, session.begin():
            if await service_users.create(session, email, name, role, hashed):
                made.append(email)
    return made


def main() -> None:
    """Refuses with exit status 2 outside of local use."""
    settings = load(AuthSettings)
    if not settings.is_local:
        print("COMPASS_ENVIRONMENT: demo users are made only where it is `local`", file=sys.stderr)  # noqa: T201 - a command's answer
        raise SystemExit(2)
    made = asyncio.run(_make(settings))
    print(f"{len(made)} demo users made, {len(USERS) - len(made)} were there")  # noqa: T201 - a command's answer


async def _make(settings: AuthSettings) -> list[str]:
    engine = create_engine(settings, "auth")
    try:
        passwords = Passwords(settings.bcrypt_cost, settings.password_workers, settings.password_queue)
        return await make(create_session_maker(engine), passwords)
    finally:
        await engine.dispose()


if __name__ == "__main__":
    main()
