"""Command: after the database was restored from a backup, agree with Kafka again, and let everybody log in anew.

    python -m services.auth.after_restore --since 2026-11-23T02:00:00Z

The service has to be stopped. Prints what somebody has to do again: accounts that were made since, and passwords and
addresses that were changed. What Kafka tells of accounts that the backup has (name, role, whether it is active) is
taken over, so that nobody gets back what was taken away. An account that the backup does not have is told to the other
services as inactive. All sessions end, since those that were ended after the backup go on in it, and keys that were
replaced since are replaced again. Run again, it finds nothing left to do.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import repository, repository_sessions, service_keys, service_sessions, tokens
from services.auth.models import User
from services.auth.service_keys import KEY_SET
from services.auth.service_state import state
from services.auth.service_tools import Tools
from services.auth.settings import AuthSettings
from shared import outbox
from shared.commands import persist
from shared.db import SessionMaker
from shared.events import auth as contracts
from shared.events.envelope import Envelope
from shared.restoring import Restoration, Told, Unknown, main, raise_numbers

_ACCOUNT_EVENTS: Final = {
    event.name for event in (contracts.USER_CREATED, contracts.USER_UPDATED, contracts.USER_DEACTIVATED)
}
_ONLY_IN_THE_DATABASE: Final = {"email", "password"}


class _Account(Struct):
    """What every event with a user's state has."""

    user: contracts.UserState
    changed: list[str] = []
    reason: str = ""


class AuthRestoration(Restoration[AuthSettings]):
    """Accounts, sessions and keys."""

    events = contracts.EVENTS
    states = (contracts.UserChanged, contracts.SessionsRevoked, contracts.LoginSucceeded, contracts.RefreshReused)

    def __init__(self, settings: AuthSettings) -> None:
        super().__init__(settings)
        self._tools = Tools.make(settings)

    async def lost(self, session: AsyncSession, unknown: Sequence[Unknown]) -> Sequence[Envelope]:
        """Accounts that are gone, and what no event carries: addresses and passwords."""
        events = [one.event for one in unknown]
        users = await repository.existing(session, {event.subject for event in events})
        return [event for event in events if self._is_lost(event, event.subject in users)]

    def _is_lost(self, event: Envelope, exists: bool) -> bool:
        if event.type in _ACCOUNT_EVENTS:
            return not exists or not _ONLY_IN_THE_DATABASE.isdisjoint(event.data_as(_Account).changed)
        return event.type == contracts.SESSIONS_REVOKED.name and event.data_as(_Account).reason == "password_changed"

    def describe(self, event: Envelope) -> str:
        """Whose account, and what was changed."""
        account = event.data_as(_Account)
        what = ", ".join(account.changed) or account.reason
        return f"{account.user.name} ({account.user.role.value}): {what}"

    async def mend(self, session: AsyncSession, told: Sequence[Told]) -> int:
        """Accounts that Kafka knows more of, or other things; and the keys, if there were others."""
        known = await self.numbers(session, [one.subject for one in told])
        newer = [one for one in told if one.sequence > known.get(one.subject, 0)]
        await raise_numbers(session, newer)
        anew = 0
        for one in told:
            is_newer = one.sequence > known.get(one.subject, 0)
            if one.subject == KEY_SET:
                if is_newer:
                    await service_keys.replace_compromised(session, self._tools, datetime.now(UTC))
                continue
            if one.state is not None:
                anew += await self._mend_account(session, one, one.state.data_as(_Account).user, is_newer=is_newer)
        return anew

    async def _mend_account(
        self, session: AsyncSession, one: Told, told: contracts.UserState, *, is_newer: bool
    ) -> int:
        user = await repository.lock(session, one.subject)
        if user is None:
            if told.is_active:
                gone = msgspec.structs.replace(told, is_active=False, revocations=[])
                await _tell(session, one.subject, gone, one.sequence)
            return int(told.is_active)
        if is_newer:
            # Sessions that began after the backup are not known any more: their tokens are refused by their age.
            columns: dict[str, Any] = {"tokens_valid_from": tokens.refused_before(user, datetime.now(UTC))}
            columns |= {name: getattr(told, name) for name in ("name", "role", "is_active")}
            user = await repository.change(session, user.id, **columns)
        elif (user.name, user.role, user.is_active) == (told.name, told.role, told.is_active):
            return 0
        now = datetime.now(UTC)
        present = await state(session, user, self._tools.longest_acceptance, now)
        await _tell(session, user.id, present, await self._last(session, user.id))
        return 1

    async def _last(self, session: AsyncSession, subject: UUID) -> int:
        return (await self.numbers(session, [subject]))[subject]

    async def finish(self, maker: SessionMaker) -> Sequence[str]:
        """End every session."""
        async with maker() as session:
            owners = await repository_sessions.owners_of_open_ones(session)

        for owner in owners:

            async def work(owner: UUID = owner) -> None:
                async with maker() as session, session.begin():
                    user: User | None = await repository.lock(session, owner)
                    if user is not None:
                        await service_sessions.end_all(session, self._tools, user, "revoked", None)

            await persist(work)
        return [f"the sessions of {len(owners):,} users are ended: everybody logs in anew"]


async def _tell(session: AsyncSession, user_id: UUID, told: contracts.UserState, sequence: int) -> None:
    data = contracts.UserChanged(user=told)
    event = outbox.Event(type=contracts.USER_SNAPSHOT, subject=user_id, key=user_id, data=data, sequence=sequence)
    await outbox.publish(session, event)


if __name__ == "__main__":
    raise SystemExit(main("auth", AuthSettings, AuthRestoration))
