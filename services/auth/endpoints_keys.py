"""The public keys, where every verifier of tokens looks for them."""

from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Response

from services.auth import repository_keys, schemas
from services.auth.service_tools import CurrentTools
from shared.db import DbSession
from shared.errors import UnavailableError

router: Final = APIRouter(tags=["Auth"])


@router.get("/.well-known/jwks.json")
async def jwks(session: DbSession, tools: CurrentTools, response: Response) -> schemas.Jwks:
    """The keys that verify access tokens (RFC 7517), the next one included before it signs."""
    keys = await repository_keys.verifying(session, datetime.now(UTC))
    if not keys:
        raise UnavailableError("There is no signing key yet.", "no_signing_key")
    response.headers["cache-control"] = f"public, max-age={tools.settings.jwks_cache_seconds}"
    return schemas.Jwks(keys=[schemas.Jwk.model_validate(key.public_jwk) for key in keys])
