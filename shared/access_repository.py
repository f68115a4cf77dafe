"""SQL of the tables that hold keys, revocations and users' states as `compass.auth.v1` tells them."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

import msgspec
from sqlalchemy import func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.access_state import AccessState
from shared.events.auth import Revocation, VerificationKey
from shared.tables import access_revocations, access_users, verification_keys

# The row that has this session is a revocation of every session of the user.
_EVERY_SESSION = UUID(int=0)

_KEYS = select(verification_keys.c.kid, verification_keys.c.public_jwk).where(
    or_(verification_keys.c.not_after.is_(None), verification_keys.c.not_after > func.now())
)
_REVOCATIONS = select(
    access_revocations.c.user_id, access_revocations.c.session_id, access_revocations.c.issued_before
).where(access_revocations.c.until > func.now())
_INACTIVE = select(access_users.c.user_id).where(access_users.c.is_active.is_(False))

# The same sequence again is the same state, or a snapshot of it, and does no harm.
_ADVANCE = text(
    """
    INSERT INTO access_users (user_id, sequence, is_active)
    SELECT * FROM unnest(CAST(:subjects AS uuid[]), CAST(:sequences AS integer[]), CAST(:active AS boolean[]))
    ON CONFLICT (user_id) DO UPDATE SET sequence = excluded.sequence, is_active = excluded.is_active
    WHERE access_users.sequence <= excluded.sequence
    RETURNING user_id
    """
)
_FORGET_REVOCATIONS = text(
    "DELETE FROM access_revocations WHERE user_id = ANY(CAST(:users AS uuid[])) OR until <= now()"
)
_ADD_REVOCATIONS = text(
    """
    INSERT INTO access_revocations (user_id, session_id, issued_before, until)
    SELECT * FROM unnest(CAST(:users AS uuid[]), CAST(:sessions AS uuid[]),
                         CAST(:issued_before AS timestamptz[]), CAST(:until AS timestamptz[]))
    ON CONFLICT (user_id, session_id) DO UPDATE SET issued_before = excluded.issued_before, until = excluded.until
    """
)
_FORGET_KEYS = text("DELETE FROM verification_keys")
_ADD_KEYS = text(
    "INSERT INTO verification_keys (kid, public_jwk, not_after) VALUES (:kid, CAST(:public_jwk AS jsonb), :not_after)"
)


async def load_state(session: AsyncSession) -> AccessState:
    """All that a service must know to accept or refuse a token."""
    keys = dict((await session.execute(_KEYS)).all())
    sessions, users = set(), {}
    for user_id, session_id, issued_before in await session.execute(_REVOCATIONS):
        if session_id == _EVERY_SESSION:
            users[user_id] = issued_before
        else:
            sessions.add(session_id)
    inactive = frozenset((await session.execute(_INACTIVE)).scalars())
    return AccessState(keys, frozenset(sessions), users, inactive)


async def advance(session: AsyncSession, states: Mapping[UUID, tuple[int, bool]]) -> set[UUID]:
    """Note the sequence and activity of each subject; answers those for which it is not older than what is known.

    The set of keys is a subject too and stands beside the users.
    """
    subjects = sorted(states)
    result = await session.execute(
        _ADVANCE,
        {
            "subjects": subjects,
            "sequences": [states[subject][0] for subject in subjects],
            "active": [states[subject][1] for subject in subjects],
        },
    )
    return set(result.scalars())


async def replace_revocations(session: AsyncSession, revocations: Mapping[UUID, Sequence[Revocation]]) -> None:
    """Take the users' revocations in force for the ones known so far, and delete everybody's that are over."""
    await session.execute(_FORGET_REVOCATIONS, {"users": list(revocations)})
    rows = [(user, revocation) for user, of_user in revocations.items() for revocation in of_user]
    await session.execute(
        _ADD_REVOCATIONS,
        {
            "users": [user for user, _ in rows],
            "sessions": [revocation.session_id or _EVERY_SESSION for _, revocation in rows],
            "issued_before": [revocation.issued_before for _, revocation in rows],
            "until": [revocation.until for _, revocation in rows],
        },
    )


async def replace_keys(session: AsyncSession, keys: Collection[VerificationKey]) -> None:
    """Know these keys and no others."""
    await session.execute(_FORGET_KEYS)
    for key in keys:
        await session.execute(
            _ADD_KEYS,
            {"kid": key.kid, "public_jwk": msgspec.json.encode(key.public_jwk).decode(), "not_after": key.not_after},
        )
