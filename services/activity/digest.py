"""Command: print what a person must know, as the plain-text body of a mail.

    python -m services.activity.digest --user 7f3c... --since 2026-07-01T06:00:00Z

Reads the configuration of the service. The name and role are those that the auth service told last. Ends with status 1
where nobody of that id is known, or the account is not active. Sending it is for whoever runs this.
"""

import argparse
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.activity import repository_digest, service_digest
from services.activity.settings import ActivitySettings
from shared import commands
from shared.errors import InvalidError
from shared.events import auth
from shared.events.vocabulary import UserRole
from shared.settings import load


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description="What a person must know, as the plain-text body of a mail.")
    parser.add_argument("--user", type=UUID, required=True, help="the user's id")
    parser.add_argument("--since", type=commands.moment, help="24 hours ago unless given")
    return parser


async def body(session: AsyncSession, user_id: UUID, since: datetime | None) -> str | None:
    """The mail's body; None for somebody who is not known, or no longer to be told anything.

    Raises:
        InvalidError: for a moment that has not come.
    """
    known = await repository_digest.known_user(session, user_id, auth.SOURCE)
    if known is None or not known.is_active or known.role not in list(UserRole):
        return None
    return service_digest.as_text(
        await service_digest.digest(session, user_id, UserRole(known.role), since), known.name
    )


def main() -> int:
    """Print the digest of the configured database."""
    given = arguments().parse_args()
    settings = load(ActivitySettings)

    async def work() -> int:
        async with commands.database(settings, "activity") as maker, maker() as session:
            try:
                text = await body(session, given.user, given.since)
            except InvalidError as error:
                commands.say(error.detail)
                return 2
        if text is None:
            commands.say(f"{given.user}: no active user of this id is known")
            return 1
        commands.tell(text)
        return 0

    return commands.run(work())


if __name__ == "__main__":
    raise SystemExit(main())
