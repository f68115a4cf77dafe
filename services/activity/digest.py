"""Command: print what a person must know, as the plain-text body of a mail.

    python -m services.activity.digest --user 7f3c... --since 2026-07-01T06:00:00Z

Reads the configuration of the service. The name and role are those that the auth service told last. Ends with status 1
where nobody of that id is known, or the account is not active. Sending it is for whoever runs this.
"""

import argparse
import asyncio
import sys
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from services.activity import repository_digest, service_digest
from services.activity.settings import ActivitySettings
from shared.db import create_engine, create_session_maker
from shared.errors import InvalidError
from shared.events import auth
from shared.events.vocabulary import UserRole
from shared.moments import Moment
from shared.settings import load


def _moment(value: str) -> datetime:
    try:
        moment: datetime = TypeAdapter(Moment).validate_python(value)
    except ValidationError:
        raise argparse.ArgumentTypeError("is no date and time with an offset, as 2026-07-01T06:00:00Z") from None
    return moment


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description="What a person must know, as the plain-text body of a mail.")
    parser.add_argument("--user", type=UUID, required=True, help="the user's id")
    parser.add_argument("--since", type=_moment, help="24 hours ago unless given")
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


async def main() -> int:
    """Print the digest of the configured database."""
    given = arguments().parse_args()
    engine = create_engine(load(ActivitySettings), "activity")
    try:
        async with create_session_maker(engine)() as session:
            text = await body(session, given.user, given.since)
    except InvalidError as error:
        print(error.detail, file=sys.stderr)  # noqa: T201 - the command's answer
        return 2
    finally:
        await engine.dispose()
    if text is None:
        print(f"{given.user}: no active user of this id is known", file=sys.stderr)  # noqa: T201
        return 1
    print(text)  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
