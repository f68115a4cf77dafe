"""Access tokens (signed, short) and refresh tokens (opaque, single use)."""

import hashlib
import hmac
import math
import secrets
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from joserfc import jwt

from services.auth.keys import Signer
from services.auth.models import Session, User
from services.auth.settings import AuthSettings
from shared.auth import ALGORITHM

_TOKEN_BYTES: Final = 32


def access_token(
    settings: AuthSettings, signer: Signer, user: User, session: Session, now: datetime
) -> tuple[str, int]:
    """A token for the user's session and how many seconds it is good for, never beyond the session itself."""
    expires = min(now + settings.access_token_lifetime, session.expires_at)
    seconds = max(1, int((expires - now) / timedelta(seconds=1)))
    started = int(now.timestamp())
    # Whole seconds: a token issued in the second in which older ones were revoked must not look like one of them.
    issued = max(started, math.ceil(user.tokens_valid_from.timestamp()) if user.tokens_valid_from else 0)
    claims = {
        "iss": settings.token_issuer,
        "aud": settings.token_audience,
        "sub": str(user.id),
        "role": user.role.value,
        "name": user.name,
        "sid": str(session.id),
        "jti": str(uuid4()),
        "iat": issued,
        "nbf": started,
        "exp": started + seconds,
    }
    return jwt.encode({"alg": ALGORITHM, "kid": signer.kid}, claims, signer.key, algorithms=[ALGORITHM]), seconds


def refused_before(user: User, now: datetime) -> datetime:
    """The moment to refuse the user's access tokens before, so that none that was issued until now is accepted.

    One that followed an earlier such moment may say that it was issued later in its second than it was.
    """
    if user.tokens_valid_from is None:
        return now
    latest = datetime.fromtimestamp(math.ceil(user.tokens_valid_from.timestamp()), UTC)
    return max(now, latest + timedelta(microseconds=1))


def new_refresh_token() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def new_salt() -> bytes:
    """What makes a used token's successor unpredictable."""
    return secrets.token_bytes(_TOKEN_BYTES)


def successor(refresh_token: str, salt: bytes) -> str:
    """The token that follows: the same for a retry, and out of reach for who has read only the database."""
    return urlsafe_b64encode(hmac.digest(refresh_token.encode(), salt, "sha256")).rstrip(b"=").decode()


def token_hash(refresh_token: str) -> bytes:
    """What is stored of a refresh token. 256 random bits need no slow hash."""
    return hashlib.sha256(refresh_token.encode()).digest()
