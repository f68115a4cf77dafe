"""The demo users of a local stack: ``python -m services.auth.demo_users``, as often as one likes."""

from typing import Final

from services.auth import repository, service_users
from services.auth.passwords import Passwords
from services.auth.settings import AuthSettings
from services.auth.turns import Caller
from shared import commands
from shared.db import SessionMaker
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


def main() -> int:
    """Answers the exit status, 2 outside of local use, where it refuses."""
    settings = load(AuthSettings)
    if not settings.is_local:
        commands.say("COMPASS_ENVIRONMENT: demo users are made only where it is `local`")
        return 2

    async def work() -> int:
        passwords = Passwords(settings.bcrypt_cost, settings.password_workers, settings.password_queue)
        async with commands.database(settings, "auth") as maker:
            made = await make(maker, passwords)
        commands.tell(f"{len(made)} demo users made, {len(USERS) - len(made)} were there")
        return 0

    return commands.run(work())


if __name__ == "__main__":
    raise SystemExit(main())
