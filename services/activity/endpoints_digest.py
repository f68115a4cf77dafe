"""The digest of the feed."""

from typing import Annotated

from fastapi import APIRouter, Query

from services.activity import service_digest
from services.activity.schemas_digest import Digest, DigestQuery
from shared.auth import Permission, User, require
from shared.db import DbSession

router = APIRouter(prefix="/api/feed", tags=["Activity"])


@router.get("/digest")
async def digest(
    user: Annotated[User, require(Permission.READ)], session: DbSession, query: Annotated[DigestQuery, Query()]
) -> Digest:
    """What a person of the caller's role must know since then."""
    return await service_digest.digest(session, user.id, user.role, query.since)
