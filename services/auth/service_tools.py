"""What the rules of this service work with, made once per process."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Self

from fastapi import Depends, Request

from services.auth.keys import KeyRing
from services.auth.passwords import Passwords
from services.auth.settings import AuthSettings
from services.auth.turns import Turns
from shared.auth import LEEWAY_SECONDS
from shared.db import SessionMaker

_LOOKS_WAITING: Final = 250


@dataclass(frozen=True, slots=True)
class Tools:
    """Settings, keys and the password threads.

    ``looks`` is who may ask the database about a login that they try: half of the connections at once, so that however
    many try, everybody who has a session finds one.
    """

    settings: AuthSettings
    keys: KeyRing
    passwords: Passwords
    looks: Turns

    @classmethod
    def make(cls, settings: AuthSettings) -> Self:
        """Those of a process with these settings."""
        return cls(
            settings=settings,
            keys=KeyRing(*settings.key_encryption_keys),
            passwords=Passwords(settings.bcrypt_cost, settings.password_workers, settings.password_queue),
            looks=Turns(settings.database_pool_size // 2, _LOOKS_WAITING),
        )

    @property
    def longest_acceptance(self) -> timedelta:
        """How long after it was issued a token may still be accepted somewhere."""
        return longest_acceptance(self.settings)


def longest_acceptance(settings: AuthSettings) -> timedelta:
    """How long after it was issued a token may still be accepted somewhere."""
    return settings.access_token_lifetime + timedelta(seconds=LEEWAY_SECONDS)


def _tools(request: Request) -> Tools:
    tools: Tools = request.app.state.tools
    return tools


def _readers(request: Request) -> SessionMaker:
    maker: SessionMaker = request.app.state.session_maker
    return maker


CurrentTools = Annotated[Tools, Depends(_tools)]

Readers = Annotated[SessionMaker, Depends(_readers)]
"""For what must be read before a password is checked, so that the wait for it holds no database connection."""
