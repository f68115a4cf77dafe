"""Signing keys: the first one, the next one, and what other services are told of the set.

A key lives in three times. Published, so that every verifier knows it before it signs anything; signing; and verifying
only, until the last token that it signed has expired. When the next key is published, the present one's end is known.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import repository_keys
from services.auth.keys import KeyRing, Signer
from services.auth.service_tools import Tools
from shared import outbox
from shared.errors import UnavailableError
from shared.events import auth as events

KEY_SET: Final = UUID("8c5b8f8e-6c0b-5d0e-9a55-2f6b1f6f0a11")
"""The subject of events about the keys: they are one set."""

_CLOCKS_DIFFER_BY: Final = timedelta(seconds=60)
"""An instance whose clock is behind may sign with a key for so long after its time."""


async def keep_up(session: AsyncSession, tools: Tools, now: datetime) -> str | None:
    """Make the first key, or the next one when its time has come; delete what verifies nothing any more.

    Answers the id of a key that was made. Instances that do this at the same time make one key between them.
    """
    await repository_keys.lock_keys(session)
    await repository_keys.forget(session, now - tools.longest_acceptance)
    newest = await _newest(session, now)
    if newest is None:
        # It signs at once: nobody can have a set of keys cached in which it is missing.
        return await _publish_next(session, tools, now, now)
    if _due(newest, tools) > now:
        return None
    return await _rotate(session, tools, now)


async def next_due(session: AsyncSession, tools: Tools, now: datetime) -> datetime:
    """When `keep_up` makes the next key; at once where there is none."""
    newest = await _newest(session, now)
    return now if newest is None else _due(newest, tools)


async def rotate(session: AsyncSession, tools: Tools, now: datetime) -> tuple[datetime, bool]:
    """Publish the next key ahead of the schedule; one that waits for its time already is the next.

    Answers from when it signs, and whether it was made by this call.
    """
    await repository_keys.lock_keys(session)
    newest = await _newest(session, now)
    if newest is not None and newest > now:
        return newest, False
    await _rotate(session, tools, now)
    return now + tools.settings.key_publication, True


async def replace_compromised(session: AsyncSession, tools: Tools, now: datetime) -> None:
    """Make a key that signs at once, and refuse every token signed with any other from now on.

    The gateway refuses the new tokens as well until it has read the set of keys again.
    """
    await repository_keys.lock_keys(session)
    await repository_keys.revoke(session, now)
    await _publish_next(session, tools, now, now)


async def encrypt_anew(session: AsyncSession, keys: KeyRing) -> int:
    """Encrypt every data key with the present key from the environment; answers how many were not yet.

    Raises:
        KeyDecryptionError: where neither key from the environment decrypts one of them. Nothing is changed then.
    """
    await repository_keys.lock_keys(session)
    count = 0
    for row in await repository_keys.every(session):
        columns = keys.encrypted_anew(row)
        if columns is not None:
            await repository_keys.reseal(session, row.kid, columns)
            count += 1
    return count


async def current_signer(session: AsyncSession, keys: KeyRing, now: datetime) -> Signer:
    """The key that signs now.

    Raises:
        UnavailableError: in the moment before the first key is made.
    """
    row = await repository_keys.signing(session, now)
    if row is None:
        raise UnavailableError("There is no key to sign tokens with yet.", "no_signing_key")
    return keys.signer(row)


async def verification_keys(session: AsyncSession, now: datetime) -> events.KeyRotated:
    """The set of keys as other services are told of it."""
    return events.KeyRotated(
        keys=[
            events.VerificationKey(kid=key.kid, public_jwk=key.public_jwk, not_after=key.verifies_until)
            for key in await repository_keys.verifying(session, now)
        ]
    )


def _due(newest: datetime, tools: Tools) -> datetime:
    return newest + timedelta(days=tools.settings.key_rotation_days)


async def _newest(session: AsyncSession, now: datetime) -> datetime | None:
    """From when the last key of the set signs."""
    return max((key.signs_from for key in await repository_keys.verifying(session, now)), default=None)


async def _rotate(session: AsyncSession, tools: Tools, now: datetime) -> str:
    signs_from = now + tools.settings.key_publication
    await repository_keys.retire(session, signs_from + tools.longest_acceptance + _CLOCKS_DIFFER_BY)
    return await _publish_next(session, tools, signs_from, now)


async def _publish_next(session: AsyncSession, tools: Tools, signs_from: datetime, now: datetime) -> str:
    made = tools.keys.generate()
    await repository_keys.add(session, made, signs_from)
    data = await verification_keys(session, now)
    await outbox.publish(session, outbox.Event(type=events.KEY_ROTATED, subject=KEY_SET, key=KEY_SET, data=data))
    return str(made["kid"])
