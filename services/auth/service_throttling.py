"""Failed logins make the next attempt wait, longer each time, without locking an account's owner out.

What waits is an account *from one address*: who knows somebody's e-mail address cannot keep that person, who is
elsewhere, from logging in. Three rules together:

- One account from one address: five failures are free, then pauses grow. Where the account has been logged in to from
  this address before, its owner is likely to sit there, and the longest pause is a minute; elsewhere a quarter of an
  hour.
- An address that fails with many accounts waits as well, at most a minute, since a whole hospital may stand behind it.
- An account that strangers fail to get into from many addresses: each further address that has never been let in gets
  one attempt, and a minute's pause and more after it. So guessers soon wait, however many addresses they have, and
  the owner still gets in: from a known address as ever, from a fresh one with the first attempt.

Blocked attempts are not checked, so they cost nothing and count for nothing.
"""

import hashlib
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import repository_sessions, repository_throttles
from services.auth.service_tools import Tools
from services.auth.turns import Caller
from shared.db import SessionMaker
from shared.errors import TooManyRequestsError

FORGOTTEN_AFTER: Final = timedelta(hours=1)
"""Failures count together as long as none is further from the next."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How many failures are free, the pause after the first that is not, and the longest pause."""

    free: int
    first: timedelta
    longest: timedelta

    def pause(self, failures: int) -> timedelta:
        """The first pause after the first failure that is not free, doubled with each that follows."""
        if failures <= self.free:
            return timedelta()
        return min(self.longest, self.first * (1 << min(failures - self.free - 1, 20)))


_SECOND: Final = timedelta(seconds=1)
_MINUTE: Final = timedelta(minutes=1)

KNOWN_PLACE: Final = Rule(free=5, first=_SECOND, longest=_MINUTE)
STRANGE_PLACE: Final = Rule(free=5, first=_SECOND, longest=15 * _MINUTE)
UNDER_ATTACK: Final = Rule(free=0, first=_MINUTE, longest=15 * _MINUTE)
ADDRESS: Final = Rule(free=100, first=_SECOND, longest=_MINUTE)

ATTACKED_FROM: Final = 20
"""Failures of strangers with one account, after which a strange place has to wait after its first."""

_PLACE: Final = "account_address"
_ADDRESS: Final = "address"
_ACCOUNT: Final = "account"


@dataclass(frozen=True, slots=True)
class Place:
    """An account as somebody names it, from an address; known where that address has been let in before."""

    email: str
    address: str | None
    is_known: bool = False

    @property
    def network(self) -> str:
        """The address; of an IPv6 address the half that one household or company has to itself."""
        if self.address is None:
            return "unknown"
        return str(ip_network((self.address, 64), strict=False)) if ":" in self.address else self.address

    @property
    def caller(self) -> Caller:
        """Who waits for a turn: strangers by the account that they try, known ones by themselves as well."""
        email = self.email.lower()
        return Caller(f"{email}\n{self.network}" if self.is_known else email, self.is_known)

    @property
    def visitor(self) -> Caller:
        """Who waits to be looked up, when no more is known than the address."""
        return Caller(self.network, is_known=False)

    def key(self, scope: str) -> tuple[str, bytes]:
        """Under what the failures of a scope are counted."""
        parts = {
            _PLACE: f"{self.email.lower()}\n{self.network}",
            _ADDRESS: self.network,
            _ACCOUNT: self.email.lower(),
        }
        return scope, hashlib.sha256(parts[scope].encode()).digest()


async def place(session: AsyncSession, email: str, address: str | None, user_id: UUID) -> Place:
    """Where an attempt comes from. The user's id is any that nobody has where there is no such account."""
    unknown = Place(email, address)
    if address is None or not await repository_sessions.have_begun_in(session, user_id, unknown.network):
        return unknown
    return replace(unknown, is_known=True)


async def admit(session: AsyncSession, place: Place) -> None:
    """Let an attempt through.

    Raises:
        TooManyRequestsError: with the seconds that are left to wait.
    """
    until = await repository_throttles.blocked_until(session, [place.key(_PLACE), place.key(_ADDRESS)])
    now = datetime.now(UTC)
    if until is not None and until > now:
        seconds = math.ceil((until - now).total_seconds())
        detail = f"Too many failed logins. Try again in {seconds} seconds."
        raise TooManyRequestsError(detail, "login_throttled", headers={"retry-after": str(seconds)})


async def check(
    readers: SessionMaker, tools: Tools, place: Place, caller: Caller, password: str, hashed: str | None
) -> bool:
    """Whether it is the password. A wrong one is counted before anybody's next one is checked.

    So of a burst of attempts that are all admitted no more are checked than of the same attempts one by one.

    Raises:
        TooManyRequestsError: for a place that has to wait meanwhile, or while too many wait already.
    """
    async with tools.passwords.turn(caller) as turn:
        async with readers() as session:
            await admit(session, place)
        matches = await turn.verify(password, hashed)
        if not matches:
            async with readers() as session, session.begin():
                await note_failure(session, place, datetime.now(UTC))
    return matches


async def note_failure(session: AsyncSession, place: Place, now: datetime) -> None:
    """Count a failure and set the pause after it."""
    rule = KNOWN_PLACE
    if not place.is_known:
        attacked = await _count(session, place.key(_ACCOUNT), now) > ATTACKED_FROM
        rule = UNDER_ATTACK if attacked else STRANGE_PLACE
    for which, key in ((rule, place.key(_PLACE)), (ADDRESS, place.key(_ADDRESS))):
        if pause := which.pause(await _count(session, key, now)):
            await repository_throttles.block(session, *key, now + pause)


async def note_success(session: AsyncSession, place: Place) -> None:
    """Forget the failures of this account from this address; those of the address with others stay."""
    await repository_throttles.forget(session, *place.key(_PLACE))


async def _count(session: AsyncSession, key: tuple[str, bytes], now: datetime) -> int:
    return await repository_throttles.count_failure(session, *key, now, now - FORGOTTEN_AFTER)
