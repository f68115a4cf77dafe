"""The first administrator: ``python -m services.auth.create_admin --email ... --name ...``.

The password is asked for, or read from standard input where that is no terminal: never an argument, which every user
of the machine can see.
"""

import argparse
import getpass
import sys

from pydantic import TypeAdapter, ValidationError

from services.auth import password_rules, service_users
from services.auth.passwords import Passwords
from services.auth.repository import DEMO_DOMAIN
from services.auth.settings import AuthSettings
from services.auth.text import EmailAddress, NewPassword, PersonName
from services.auth.turns import Caller
from shared import commands
from shared.db import SessionMaker
from shared.events.vocabulary import UserRole
from shared.settings import load


async def create(maker: SessionMaker, passwords: Passwords, email: str, name: str, password: str) -> bool:
    """Make the account; False where the address is taken."""
    async with passwords.turn(Caller(email, is_known=True)) as turn:
        hashed = await turn.hash(password)
    async with maker() as session, session.begin():
        return await service_users.create(session, email, name, UserRole.ADMIN, hashed) is not None


def main(arguments: list[str] | None = None) -> int:
    """Answers the exit status, 1 where nothing was made, after the reason."""
    parser = argparse.ArgumentParser(description="Make an account that may do everything.")
    parser.add_argument("--email", required=True)
    parser.add_argument("--name", required=True)
    chosen = parser.parse_args(arguments)
    settings = load(AuthSettings)
    try:
        email = TypeAdapter(EmailAddress).validate_python(chosen.email)
        name = TypeAdapter(PersonName).validate_python(chosen.name)
        password = TypeAdapter(NewPassword).validate_python(_read_password())
    except ValidationError as error:
        raise SystemExit("; ".join(problem["msg"] for problem in error.errors())) from None
    if not settings.is_local and email.lower().endswith(DEMO_DOMAIN):
        raise SystemExit(f"addresses of {DEMO_DOMAIN} are for local use only")
    if complaint := password_rules.complaint(password, email, name):
        raise SystemExit(f"the password {complaint}")

    async def work() -> int:
        passwords = Passwords(settings.bcrypt_cost, settings.password_workers, settings.password_queue)
        async with commands.database(settings, "auth") as maker:
            if not await create(maker, passwords, email, name, password):
                commands.say(f"there is an account with the address {email} already")
                return 1
        commands.tell(f"made the administrator {email}")
        return 0

    return commands.run(work())


def _read_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password (12 to 72 bytes): ")
    if getpass.getpass("Again: ") != password:
        raise SystemExit("the passwords differ")
    return password


if __name__ == "__main__":
    raise SystemExit(main())
