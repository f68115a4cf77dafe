"""The public keys, where every verifier of tokens looks for them."""

from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Response

from services.auth import repository_keys, schemas
from shared.db import DbSession
from shared.errors import UnavailableError

router: Final = APIRouter(tags=["Auth"])

CACHE_SECONDS: Final = 60
"""A key is published for twice this time before it signs, so that no cache can miss it."""


@router.get("/.well-known/jwks.json")
async def jwks(session: DbSession, response: Response) -> schemas.Jwks:
    """The keys that verify access tokens (RFC 7517), the next one included before it signs."""
    keys = await repository_keys.verifying(session, datetime.now(UTC))
    if not keys:
        raise UnavailableError("There is no signing key yet.", "no_signing_key")
    response.headers["cache-control"] = f"public, max-age={CACHE_SECONDS}"
    return schemas.Jwks(keys=[schemas.Jwk.model_validate(key.public_jwk) for key in keys])
