"""The present state of every account and of the keys: ``python -m services.auth.snapshot``."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import repository, repository_keys
from services.auth.service_keys import KEY_SET, verification_keys
from services.auth.service_state import state
from services.auth.service_tools import longest_acceptance
from services.auth.settings import AuthSettings
from shared.events import auth as events
from shared.outbox import Event
from shared.settings import load
from shared.snapshots import Page, Part, main


def parts(settings: AuthSettings) -> list[Part]:
    """Accounts, with the revocations in force, and the set of keys."""

    async def read_users(session: AsyncSession, after: str | None, rows: int) -> Page:
        found = await repository.lock_next(session, UUID(after) if after else None, rows)
        now = datetime.now(UTC)
        snapshots = []
        for user, sequence in found:
            told = await state(session, user, longest_acceptance(settings), now)
            data = events.UserChanged(user=told)
            snapshots.append(
                Event(type=events.USER_SNAPSHOT, subject=user.id, key=user.id, data=data, sequence=sequence)
            )
        return Page(snapshots, str(found[-1][0].id) if len(found) == rows else None)

    return [Part("users", read_users, repository.count_all), Part("keys", _read_keys, _count_keys)]


async def _read_keys(session: AsyncSession, after: str | None, _: int) -> Page:
    await repository_keys.lock_keys(session)
    sequence = await repository.last_sequence(session, KEY_SET)
    if after is not None or sequence is None:
        return Page([], None)
    data = await verification_keys(session, datetime.now(UTC))
    event = Event(type=events.KEY_SNAPSHOT, subject=KEY_SET, key=KEY_SET, data=data, sequence=sequence)
    return Page([event], None)


async def _count_keys(session: AsyncSession) -> int:
    return int(await repository.last_sequence(session, KEY_SET) is not None)


if __name__ == "__main__":
    raise SystemExit(main("auth", AuthSettings, parts(load(AuthSettings))))
