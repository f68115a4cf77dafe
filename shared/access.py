"""Whose tokens are accepted right now: keys, revocations and deactivated users, kept in memory.

The auth service tells of them on `compass.auth.v1`; `access_subscription` keeps them in the service's own tables, and
`Access` looks there every second. So a restart forgets nothing, and no request waits for the database to be let in.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from time import time
from typing import Final, TypeAlias
from uuid import UUID

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from sqlalchemy.ext.asyncio import AsyncSession

from shared import access_repository
from shared.access_state import AccessState
from shared.auth import LEEWAY_SECONDS, Claims, User, decode_token
from shared.db import SessionMaker
from shared.dead_letters import Rejection
from shared.errors import UnauthenticatedError, UnavailableError
from shared.events import auth as events
from shared.events import envelope
from shared.events.decoding import RejectedMessageError
from shared.events.topics import COMPASS_AUTH
from shared.inbox import Message
from shared.kafka import Subscription
from shared.settings import ServiceSettings

__all__ = ["Access", "AccessLoader", "AccessState", "access_subscription"]

logger = structlog.get_logger(__name__)

AccessLoader: TypeAlias = Callable[[AsyncSession], Awaitable[AccessState]]

_TOKENS_REMEMBERED: Final = 10_000


class Access:
    """Verifies access tokens against the state of at most `access_refresh_seconds` ago."""

    def __init__(
        self,
        settings: ServiceSettings,
        session_maker: SessionMaker,
        load: AccessLoader = access_repository.load_state,
    ) -> None:
        self._settings = settings
        self._session_maker = session_maker
        self._load = load
        self._state = AccessState()
        self._keys: dict[str, ECKey] = {}
        # What tokens say that were verified with these keys, by the token's SHA-256.
        self._verified: dict[bytes, Claims] = {}

    @property
    def ready(self) -> bool:
        """Whether a key is known; before that no token can be told good from bad."""
        return bool(self._keys)

    async def run(self) -> None:
        """Refresh until cancelled. While the database is away the last known state goes on."""
        while True:
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - whatever it is, stopping to look would be worse
                logger.warning("keys and revocations could not be read, going on with the last", error=repr(error))
            await asyncio.sleep(self._settings.access_refresh_seconds)

    async def refresh(self) -> None:
        """Read the state now."""
        async with self._session_maker() as session:
            state = await self._load(session)
        if state.keys != self._state.keys:
            self._keys = {kid: _public_key(jwk) for kid, jwk in state.keys.items()}
            self._verified.clear()
        self._state = state

    def verify(self, token: str | None) -> User:
        """The caller whom a token names.

        Raises:
            UnauthenticatedError: ``missing_token``, ``invalid_token``, ``expired_token``, ``revoked_token``.
            UnavailableError: while no key is known yet.
        """
        if token is None:
            raise UnauthenticatedError("An access token is needed.", "missing_token")
        if not self._keys:
            raise UnavailableError("The keys that verify tokens are not known here yet.", "keys_unknown")
        claims = self._claims(token)
        state = self._state
        if (
            claims.sid in state.revoked_sessions
            or claims.sub in state.inactive_users
            or ((since := state.revoked_users.get(claims.sub)) and datetime.fromtimestamp(claims.iat, UTC) < since)
        ):
            raise UnauthenticatedError("The session of this token has ended.", "revoked_token")
        return claims.user

    def _claims(self, token: str) -> Claims:
        """What a good token says; its signature is verified once, since that takes longer than most answers."""
        digest, now = sha256(token.encode(errors="replace")).digest(), time()
        known = self._verified.get(digest)
        if known is not None and known.nbf - LEEWAY_SECONDS <= now < known.exp + LEEWAY_SECONDS:
            return known
        claims = decode_token(token, self._keys, self._settings.token_issuer, self._settings.token_audience)
        if len(self._verified) >= _TOKENS_REMEMBERED:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = claims
        return claims


def _public_key(jwk: Mapping[str, str]) -> ECKey:
    key = ECKey.import_key(dict(jwk))
    if key.curve_name != "P-256" or key.is_private:
        raise ValueError(f"key {jwk.get('kid')} is no public key on the curve P-256")
    return key


_USER_EVENTS: Final = {
    event.name: event
    for event in (
        events.USER_CREATED,
        events.USER_UPDATED,
        events.USER_DEACTIVATED,
        events.USER_SNAPSHOT,
        events.SESSIONS_REVOKED,
    )
}
_KEY_EVENTS: Final = {event.name: event for event in (events.KEY_ROTATED, events.KEY_SNAPSHOT)}
_KNOWN: Final = _USER_EVENTS | _KEY_EVENTS

_State: TypeAlias = events.UserState | events.KeyRotated


def access_subscription(service: str) -> Subscription:
    """Keeps the tables `verification_keys`, `access_revocations` and `access_users` of a service."""
    return Subscription(COMPASS_AUTH, f"{service}.access", _store)


async def _store(session: AsyncSession, messages: Sequence[Message]) -> list[Rejection]:
    latest: dict[UUID, tuple[int, _State]] = {}
    rejections = []
    for message in messages:
        try:
            found = _read(message)
        except RejectedMessageError as error:
            rejections.append(Rejection(message, error))
            continue
        if found is not None:
            subject, sequence, state = found
            if subject not in latest or latest[subject][0] <= sequence:
                latest[subject] = (sequence, state)

    news = await access_repository.advance(
        session, {subject: (sequence, _is_active(state)) for subject, (sequence, state) in latest.items()}
    )
    revocations = {}
    for subject in news:
        state = latest[subject][1]
        if isinstance(state, events.KeyRotated):
            await access_repository.replace_keys(session, state.keys)
        else:
            revocations[subject] = state.revocations
    await access_repository.replace_revocations(session, revocations)
    return rejections


def _read(message: Message) -> tuple[UUID, int, _State] | None:
    event = envelope.decode(message.value)
    contract = envelope.choose(event.type, _KNOWN)
    if contract is None:
        return None
    if event.type in _KEY_EVENTS:
        keys = event.data_as(events.KeyRotated)
        for key in keys.keys:
            try:
                _public_key(key.public_jwk)
            except (JoseError, ValueError) as error:
                raise RejectedMessageError("invalid_key", f"The key {key.kid} cannot be used: {error}.") from None
        return event.subject, event.sequence, keys
    if event.type == events.SESSIONS_REVOKED.name:
        return event.subject, event.sequence, event.data_as(events.SessionsRevoked).user
    return event.subject, event.sequence, event.data_as(events.UserChanged).user


def _is_active(state: _State) -> bool:
    return state.is_active if isinstance(state, events.UserState) else True
