"""Tokens that nobody issued: whatever they are, they are refused as tokens, and never fail in another way."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import httpx
import pytest
from fastapi import APIRouter
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc import jws

from shared.access import Access
from shared.app import create_app
from shared.auth import Claims, Permission, User, decode_token, require
from shared.errors import UnauthenticatedError
from shared.events.vocabulary import UserRole
from shared.settings import ServiceSettings
from tests.support.fuzzing import damaged, json_values, written
from tests.support.service import AUDIENCE, ISSUER, SIGNING_KEY, service_settings, token

KEYS: Final = {"test-key": SIGNING_KEY}
CODES: Final = ("invalid_token", "expired_token")
HEADER: Final = {"alg": "ES256", "kid": "test-key"}


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
    return value


def signed(payload: bytes) -> str:
    """What only somebody with the key can make."""
    return jws.serialize_compact(HEADER, payload, SIGNING_KEY, algorithms=["ES256"])


def verified(text: str) -> Claims | None:
    """The claims; None where it is refused as a token."""
    try:
        return decode_token(text, KEYS, ISSUER, AUDIENCE)
    except UnauthenticatedError as error:
        refused = error
    assert refused.code in CODES
    return None


NESTED: Final = (b"[" * 1100 + b"]" * 1100, b'{"a":' * 500 + b"0" + b"}" * 500, b"9" * 2800)
headers: Final = (
    st.dictionaries(
        st.sampled_from(("alg", "kid", "typ", "cty", "crit", "b64", "jwk", "jku", "x5c", "x5u", "zip", "enc", "p2c")),
        json_values | st.sampled_from(("ES256", "none", "HS256", "test-key", ["b64"], ["kid"], "deflate")),
        max_size=5,
    ).map(lambda changes: written(HEADER | changes))
    | json_values.map(written)
    | st.binary(max_size=100)
    | damaged(written(HEADER))
)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
@example("." * 5000)
@example("A" * 4000 + ".A.A")
def test_no_text_is_a_token(text: str) -> None:
    assert verified(text) is None


@given(headers)
@example(written(HEADER | {"crit": 1}))
@example(b'{"alg": "ES256", "kid": "test-key", "x": ' + NESTED[0] + b"}")
@example(b'{"alg": "ES256", "kid": "test-key", "x": ' + NESTED[2] + b"}")
def test_a_header_says_nothing_about_how_a_token_is_verified(header: bytes) -> None:
    good = token("viewer")
    _, claims, signature = good.split(".")
    for text in (f"{encoded(header)}.{claims}.{signature}", f"{encoded(header)}.{claims}."):
        assert text == good or verified(text) is None


@given(st.data())
def test_a_token_of_which_a_bit_is_another_is_refused(data: st.DataObject) -> None:
    parts = [base64.urlsafe_b64decode(part + "==") for part in token("viewer").split(".")]
    number = data.draw(st.integers(0, 2))
    part = data.draw(damaged(parts[number]))
    if part != parts[number]:
        parts[number] = part
        assert verified(".".join(map(encoded, parts))) is None


@given(
    st.dictionaries(
        st.sampled_from(("sub", "role", "name", "sid", "jti", "iss", "aud", "iat", "nbf", "exp", "admin")),
        json_values | st.sampled_from((0, 2**31, 2**53, 10**12, -1, [AUDIENCE], [AUDIENCE, 1], "viewer", "root")),
        min_size=1,
        max_size=3,
    )
)
def test_claims_of_any_kind_are_those_of_a_token_or_refused(changes: dict[str, Any]) -> None:
    """Even with our own signature: a claim is taken as what it says, or the token is none."""
    sent = decoded(token("viewer").split(".")[1]) | changes
    if (claims := verified(signed(written(sent)))) is None:
        return
    now = datetime.now(UTC).timestamp()
    assert (claims.iss, claims.aud) == (ISSUER, AUDIENCE) == (sent["iss"], sent["aud"])
    assert claims.iat - 6 <= now <= claims.exp + 6
    assert claims.nbf <= now + 6
    assert claims.role == sent["role"]
    assert str(claims.sub) == sent["sub"].lower()
    assert (claims.name, claims.jti) == (sent["name"], sent["jti"])
    assert claims.user.token_expires_at.timestamp() == sent["exp"]


@given(json_values.map(written) | st.binary(max_size=200) | st.sampled_from(NESTED))
@example(b'{"x": ' + NESTED[0] + b"}")
def test_a_signed_payload_of_anything_else_is_refused(payload: bytes) -> None:
    assert verified(signed(payload)) is None


def test_what_is_nested_too_deeply_for_python_is_refused() -> None:
    """Not made up by Hypothesis, which lets Python go deeper than it does in a service."""
    for nested in NESTED:
        assert verified(signed(b'{"x": ' + nested + b"}")) is None
        assert verified(f"{encoded(nested)}.e30.AAAA") is None


Reader = Annotated[User, require(Permission.READ)]
router: Final = APIRouter()


@router.get("/secret")
async def secret(_: Reader) -> str:
    return "told"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    settings = service_settings(ServiceSettings, "postgresql://nobody@127.0.0.1:1/nothing")
    app = create_app(settings, name="shared_test", description="", routers=[router])
    access = Access(settings, app.state.session_maker)
    access._keys = KEYS
    app.state.access = access
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


schemes: Final = st.sampled_from((b"Bearer ", b"bearer ", b"Bearer  ", b"Bearer\t", b"Basic ", b"", b"Bearer Bearer "))
tokens: Final = (
    st.binary(max_size=200)
    | damaged(token(UserRole.VIEWER).encode())
    | headers.map(lambda header: encoded(header).encode() + b"." + b".".join(token("viewer").encode().split(b".")[1:]))
)


@given(st.lists(st.tuples(schemes, tokens), min_size=0, max_size=2))
@example([(b"Bearer ", encoded(written(HEADER | {"crit": 1})).encode() + b".e30.AAAA")])
@example([(b"Bearer ", b"A" * 100_000)])
async def test_any_header_of_a_request_is_answered_with_401(
    client: httpx.AsyncClient, sent: list[tuple[bytes, bytes]]
) -> None:
    good = [(scheme, text) for scheme, text in sent if text.decode("latin-1") == text.strip().decode("latin-1")]
    request = client.build_request("GET", "/secret")
    request.headers = httpx.Headers([(b"authorization", scheme + text) for scheme, text in good])
    answer = await client.send(request)
    if answer.status_code == 200:
        # A token with other letters in bits that nobody reads is the same token.
        assert len(good) == 1
        assert verified(good[0][1].decode("latin-1")) is not None
        return
    assert answer.status_code == 401, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer")
