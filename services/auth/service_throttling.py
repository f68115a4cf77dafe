"""Failed logins make the next attempt wait, longer each time, without locking an account's owner out.

What waits is an account *from one address*: who knows somebody's e-mail address cannot keep that person, who is
elsewhere, from logging in. An address that fails with many accounts waits as well, at most a minute, since a whole
hospital may stand behind it. Blocked attempts are not checked, so they cost nothing and count for nothing.
"""

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import repository_throttles
from shared.errors import TooManyRequestsError

FORGOTTEN_AFTER: Final = timedelta(hours=1)
"""Failures count together as long as none is further from the next."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How many failures are free, and the longest pause after one more."""

    scope: str
    free: int
    longest: timedelta

    def pause(self, failures: int) -> timedelta:
        """One second after the first failure that is not free, doubled with each that follows."""
        if failures <= self.free:
            return timedelta()
        return min(self.longest, timedelta(seconds=2.0 ** min(failures - self.free - 1, 20)))


RULES: Final = (
    Rule("account_address", free=5, longest=timedelta(minutes=15)),
    Rule("address", free=100, longest=timedelta(minutes=1)),
)


async def admit(session: AsyncSession, email: str, address: str | None) -> None:
    """Let an attempt through.

    Raises:
        TooManyRequestsError: with the seconds that are left to wait.
    """
    until = await repository_throttles.blocked_until(session, _keys(email, address))
    now = datetime.now(UTC)
    if until is not None and until > now:
        seconds = math.ceil((until - now).total_seconds())
        detail = f"Too many failed logins. Try again in {seconds} seconds."
        raise TooManyRequestsError(detail, "login_throttled", headers={"retry-after": str(seconds)})


async def note_failure(session: AsyncSession, email: str, address: str | None, now: datetime) -> None:
    """Count a failure and set the pause after it."""
    for rule, key in zip(RULES, _keys(email, address), strict=True):
        failures = await repository_throttles.count_failure(session, *key, now, now - FORGOTTEN_AFTER)
        if pause := rule.pause(failures):
            await repository_throttles.block(session, *key, now + pause)


async def note_success(session: AsyncSession, email: str, address: str | None) -> None:
    """Forget the failures of this account from this address; those of the address with others stay."""
    await repository_throttles.forget(session, *_keys(email, address)[0])


def _keys(email: str, address: str | None) -> list[tuple[str, bytes]]:
    where = address or "unknown"
    return [
        (RULES[0].scope, hashlib.sha256(f"{email.lower()}\n{where}".encode()).digest()),
        (RULES[1].scope, hashlib.sha256(where.encode()).digest()),
    ]
