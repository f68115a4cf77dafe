"""Access tokens that the auth service of a stack issued, and ones that it never would."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from uuid import uuid4

import httpx
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import ECKey

from deploy.local.stack import LocalStack
from services.auth.keys import Signer
from tests.deploy.signing import stored_signer
from tests.e2e.api import PASSWORD

ROLES = ("admin", "clinical", "nursing", "administration", "viewer")
"""The demo users."""


def login(stack: LocalStack, role: str) -> str:
    """A new session's access token."""
    body = {"email": f"{role}@demo.example", "password": PASSWORD}
    answer = httpx.post(f"{stack.gateway_url}/api/auth/login", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


def signer(stack: LocalStack) -> Signer:
    """The key that signs on this stack, as who knows database and environment can have it."""
    key = stack.service_environment("auth")["COMPASS_KEY_ENCRYPTION_KEY"]
    return stored_signer(stack.postgres.service_url("auth"), key)


def signed(by: Signer, **changed: Any) -> str:
    """A token as the auth service signs it, of an admin that nobody knows, but for what is changed."""
    now = int(time.time())
    claims = {
        "iss": "quality-compass",
        "aud": "quality-compass",
        "sub": str(uuid4()),
        "role": "admin",
        "name": "Nobody",
        "sid": str(uuid4()),
        "jti": str(uuid4()),
        "iat": now,
        "nbf": now,
        "exp": now + 300,
    }
    return jwt.encode({"alg": "ES256", "kid": by.kid}, claims | changed, by.key, algorithms=["ES256"])


def broken(by: Signer) -> dict[str, tuple[str, str]]:
    """Tokens that are refused whatever they ask for, and the code of the refusal."""
    now = int(time.time())
    good = signed(by)
    header, payload, signature = good.split(".")
    other = Signer("another", ECKey.generate_key("P-256", private=True))
    return {
        "expired": (signed(by, exp=now - 60), "expired_token"),
        "not yet valid": (signed(by, nbf=now + 600), "invalid_token"),
        "other audience": (signed(by, aud="another"), "invalid_token"),
        "other issuer": (signed(by, iss="another"), "invalid_token"),
        "alg none": (f"{_part({'alg': 'none', 'kid': by.kid})}.{payload}.", "invalid_token"),
        "HS256 with the public key": (_with_public_key_as_secret(by, payload), "invalid_token"),
        "unknown kid": (signed(other), "invalid_token"),
        "known kid, other key": (signed(Signer(by.kid, other.key)), "invalid_token"),
        "tampered signature": (f"{header}.{payload}.{_changed(signature)}", "invalid_token"),
        "tampered payload": (f"{header}.{_part({'sub': str(uuid4()), 'role': 'admin'})}.{signature}", "invalid_token"),
    }


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def _changed(signature: str) -> str:
    """Another signature of the same length, which differs in its middle: the last character may hold no bit."""
    middle = len(signature) // 2
    return signature[:middle] + ("A" if signature[middle] != "A" else "B") + signature[middle + 1 :]


def _with_public_key_as_secret(by: Signer, payload: str) -> str:
    """What a verifier that lets the token choose the algorithm would take: everybody knows the public key."""
    secret = by.key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    content = f"{_part({'alg': 'HS256', 'kid': by.kid})}.{payload}"
    digest = hmac.digest(secret, content.encode(), hashlib.sha256)
    return f"{content}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
