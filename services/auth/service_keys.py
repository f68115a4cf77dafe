"""Signing keys: the first one, and what other services are told of the set."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import repository_keys
from services.auth.keys import KeyRing, Signer
from shared import outbox
from shared.errors import UnavailableError
from shared.events import auth as events

KEY_SET: Final = UUID("8c5b8f8e-6c0b-5d0e-9a55-2f6b1f6f0a11")
"""The subject of events about the keys: they are one set."""


async def ensure_key(session: AsyncSession, keys: KeyRing) -> bool:
    """Make and publish the first signing key where there is none; whether it was this caller who did.

    It signs at once: nobody can have a set of keys cached in which it is missing.
    """
    await repository_keys.lock_keys(session)
    now = datetime.now(UTC)
    if await repository_keys.verifying(session, now):
        return False
    await repository_keys.add(session, keys.generate(), now)
    await _publish_keys(session, now)
    return True


async def current_signer(session: AsyncSession, keys: KeyRing) -> Signer:
    """The key that signs now.

    Raises:
        UnavailableError: in the moment before the first key is made.
    """
    row = await repository_keys.signing(session, datetime.now(UTC))
    if row is None:
        raise UnavailableError("There is no key to sign tokens with yet.", "no_signing_key")
    return keys.signer(row)


async def _publish_keys(session: AsyncSession, now: datetime) -> None:
    told = [
        events.VerificationKey(kid=key.kid, public_jwk=key.public_jwk, not_after=key.verifies_until)
        for key in await repository_keys.verifying(session, now)
    ]
    await outbox.publish(
        session,
        outbox.Event(type=events.KEY_ROTATED, subject=KEY_SET, key=KEY_SET, data=events.KeyRotated(keys=told)),
    )
