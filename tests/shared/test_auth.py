"""Tokens are taken or refused, and endpoints ask for permissions before anything else."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry
from pydantic import BaseModel

from shared import auth
from shared.access import Access
from shared.app import create_app
from shared.auth import PERMISSIONS, Permission, User, decode_token, require, required_permission
from shared.errors import UnauthenticatedError
from shared.events.vocabulary import UserRole
from shared.settings import ServiceSettings
from tests.support.service import AUDIENCE, ISSUER, SIGNING_KEY, token, user_id

KEYS = {"test-key": SIGNING_KEY}
NOW = int(time.time())


def decode(text: str) -> auth.Claims:
    return decode_token(text, KEYS, ISSUER, AUDIENCE)


def refusal(text: str) -> str:
    with pytest.raises(UnauthenticatedError) as raised:
        decode(text)
    return raised.value.code


def claims() -> dict[str, Any]:
    body = token(UserRole.ADMIN).split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=="))
    return decoded


def sign(payload: dict[str, Any], header: dict[str, Any] | None = None, key: ECKey = SIGNING_KEY) -> str:
    header = {"alg": "ES256", "kid": "test-key"} | (header or {})
    registry = JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
    return jwt.encode(header, payload, key, registry=registry)


def encode(part: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def test_a_good_token_names_the_caller() -> None:
    user = decode(token(UserRole.NURSING_LEADERSHIP, name="A Nurse")).user
    assert (user.id, user.name, user.role) == (user_id("nursing_leadership"), "A Nurse", UserRole.NURSING_LEADERSHIP)
    assert 290 < user.token_expires_at.timestamp() - time.time() <= 300


def test_an_expired_token_is_told_from_a_bad_one() -> None:
    assert refusal(token("admin", exp=NOW - 6)) == "expired_token"
    assert refusal(token("admin", exp=NOW - 6)[:-4] + "AAAA") == "invalid_token"


def test_clocks_may_differ_by_a_few_seconds() -> None:
    now = int(time.time())
    decode(token("admin", exp=now - 2))
    decode(token("admin", nbf=now + 4, iat=now + 4))


@pytest.mark.parametrize(
    "changed",
    [
        {"nbf": NOW + 3600},
        {"iat": NOW + 3600},
        {"aud": "another"},
        {"aud": []},
        {"iss": "another"},
        {"sub": "not-a-uuid"},
        {"sub": 7},
        {"sid": ""},
        {"jti": 5},
        {"role": "root"},
        {"role": ["admin"]},
        {"name": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**30},
        {"nbf": "now"},
    ],
)
def test_every_claim_is_checked(changed: dict[str, Any]) -> None:
    assert refusal(sign(claims() | changed)) == "invalid_token"


@pytest.mark.parametrize("claim", sorted(claims()))
def test_no_claim_may_be_missing(claim: str) -> None:
    assert refusal(sign({name: value for name, value in claims().items() if name != claim})) == "invalid_token"


@pytest.mark.parametrize("header", [{"kid": "another"}, {"kid": ""}, {"kid": ["test-key"]}, {"kid": None}])
def test_only_known_keys_verify(header: dict[str, Any]) -> None:
    text = ".".join([encode({"alg": "ES256"} | header), *sign(claims()).split(".")[1:]])
    assert refusal(text) == "invalid_token"


def test_a_token_without_key_id_is_refused_even_if_only_one_key_is_known() -> None:
    text = jwt.encode({"alg": "ES256"}, claims(), SIGNING_KEY)
    assert refusal(text) == "invalid_token"


def test_the_algorithm_is_not_the_tokens_choice() -> None:
    public_pem = SIGNING_KEY.as_pem(private=False)
    content = f"{encode({'alg': 'HS256', 'kid': 'test-key'})}.{encode(claims())}"
    mac = base64.urlsafe_b64encode(hmac.digest(public_pem, content.encode(), "sha256")).rstrip(b"=").decode()
    hs256 = f"{content}.{mac}"
    unsigned = f"{encode({'alg': 'none', 'kid': 'test-key'})}.{encode(claims())}."
    other_curve = ECKey.generate_key("P-384", private=True)
    es384 = jwt.encode({"alg": "ES384", "kid": "test-key"}, claims(), other_curve, algorithms=["ES384"])
    for text in (hs256, unsigned, unsigned + "AAAA", es384):
        assert refusal(text) == "invalid_token"


def test_a_key_that_the_token_brings_along_is_ignored() -> None:
    own = ECKey.generate_key("P-256", private=True)
    text = sign(claims(), {"jwk": own.as_dict(private=False)}, own)
    assert refusal(text) == "invalid_token"


def test_unknown_critical_headers_are_refused() -> None:
    signed = sign(claims()).split(".")
    forged = ".".join([encode({"alg": "ES256", "kid": "test-key", "crit": ["exp"]}), *signed[1:]])
    assert refusal(forged) == "invalid_token"


def test_each_part_is_under_the_signature() -> None:
    header, payload, signature = token("viewer").split(".")
    as_admin = encode(claims() | {"role": "admin"})
    assert refusal(f"{header}.{as_admin}.{signature}") == "invalid_token"
    assert (
        refusal(f"{encode({'alg': 'ES256', 'kid': 'test-key', 'typ': 'x'})}.{payload}.{signature}") == "invalid_token"
    )
    swapped = signature[:-6] + ("AAAAAA" if signature[-6:] != "AAAAAA" else "BBBBBB")
    assert refusal(f"{header}.{payload}.{swapped}") == "invalid_token"


@given(st.text(max_size=300))
def test_nothing_that_is_no_token_gets_further(text: str) -> None:
    assert refusal(text) == "invalid_token"


@given(st.lists(st.binary(max_size=60), min_size=3, max_size=3))
def test_no_bytes_behind_the_dots_get_further(parts: list[bytes]) -> None:
    assert refusal(".".join(base64.urlsafe_b64encode(part).decode() for part in parts)) == "invalid_token"


@pytest.mark.parametrize("text", ["[" * 4000, "é.é.é", "a." * 2000, encode({}) + ".", "A" * 5000])
def test_odd_texts_are_refused(text: str) -> None:
    assert refusal(text) == "invalid_token"
    assert refusal(f"{encode({'alg': 'ES256', 'kid': 'test-key'})}.{text}") == "invalid_token"


def test_permissions_are_those_of_the_specification() -> None:
    leadership = {
        *(Permission.OWN_ACCOUNT, Permission.READ, Permission.EDIT, Permission.COMMENT, Permission.ASSIGN),
        *(Permission.SNOOZE, Permission.MOVE_STATUS, Permission.CLOSE),
    }
    assert PERMISSIONS[UserRole.ADMIN] == set(Permission)
    assert PERMISSIONS[UserRole.VIEWER] == {Permission.OWN_ACCOUNT, Permission.READ}
    for role in (UserRole.CLINICAL_LEADERSHIP, UserRole.NURSING_LEADERSHIP, UserRole.ADMINISTRATION):
        assert PERMISSIONS[role] == leadership
    assert set(PERMISSIONS) == set(UserRole)


router = APIRouter(prefix="/api")


class Body(BaseModel):
    """A body that can be wrong."""

    number: int


@router.post("/things/{thing}")
async def change(
    thing: int, wanted: int, body: Body, user: Annotated[User, require(Permission.ASSIGN)]
) -> dict[str, Any]:
    return {"by": str(user.id), "sum": thing + wanted + body.number}


@router.get("/open")
async def nobody_asks() -> None:
    return None


@pytest.fixture
def app(settings: ServiceSettings) -> FastAPI:
    app = create_app(settings, name="signals", description="Under test.", routers=[router])
    access = Access(settings, app.state.session_maker)
    access._keys = dict(KEYS)
    app.state.access = access
    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


JSON = {"content-type": "application/json"}
GOOD: dict[str, Any] = {"url": "/api/things/1?wanted=2", "json": {"number": 3}}
WRONG: dict[str, dict[str, Any]] = {
    "path": {"url": "/api/things/one?wanted=2", "json": {"number": 3}},
    "query": {"url": "/api/things/1?wanted=two", "json": {"number": 3}},
    "missing query": {"url": "/api/things/1", "json": {"number": 3}},
    "body": {"url": "/api/things/1?wanted=2", "json": {"number": "three"}},
    "no body": {"url": "/api/things/1?wanted=2"},
    "malformed body": {"url": "/api/things/1?wanted=2", "content": b"{", "headers": JSON},
    "undecodable body": {"url": "/api/things/1?wanted=2", "content": b'"\xff"', "headers": JSON},
    "deep body": {"url": "/api/things/1?wanted=2", "content": b"[" * 100_000, "headers": JSON},
}


async def post(client: httpx.AsyncClient, request: dict[str, Any], authorization: str | None) -> httpx.Response:
    headers = dict(request.get("headers", {}))
    if authorization is not None:
        headers["authorization"] = authorization
    return await client.post(**(request | {"headers": headers}))


@pytest.mark.parametrize("what", WRONG)
async def test_who_may_not_is_told_so_before_what_is_wrong(client: httpx.AsyncClient, what: str) -> None:
    no_token = await post(client, WRONG[what], None)
    assert (no_token.status_code, no_token.json()["code"]) == (401, "missing_token")
    assert no_token.headers["www-authenticate"] == "Bearer"
    assert no_token.json()["request_id"] == no_token.headers["x-request-id"]
    viewer = await post(client, WRONG[what], f"Bearer {token('viewer')}")
    assert (viewer.status_code, viewer.json()["code"]) == (403, "forbidden")
    admin = await post(client, WRONG[what], f"Bearer {token('admin')}")
    assert admin.status_code in (400, 422)


async def test_who_may_gets_through(client: httpx.AsyncClient) -> None:
    answer = await post(client, GOOD, f"bearer {token('administration')}")
    assert answer.json() == {"by": str(user_id("administration")), "sum": 6}


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "", "Bearer a b", "token"])
async def test_other_authorization_is_no_token(client: httpx.AsyncClient, header: str) -> None:
    answer = await post(client, GOOD, header)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


async def test_two_tokens_are_none(client: httpx.AsyncClient) -> None:
    good = f"Bearer {token('admin')}"
    answer = await client.post(**GOOD, headers=[("authorization", good), ("authorization", good)])
    assert answer.json()["code"] == "invalid_token"


async def test_an_unknown_method_is_not_told_to_who_may_not(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/things/1")).status_code == 401
    assert (await client.get("/api/things/1", headers={"authorization": f"Bearer {token('admin')}"})).status_code == 405


async def test_before_the_first_key_nobody_is_refused_for_good(app: FastAPI, client: httpx.AsyncClient) -> None:
    app.state.access = Access(app.state.settings, app.state.session_maker)
    answer = await post(client, GOOD, f"Bearer {token('admin')}")
    assert (answer.status_code, answer.json()["code"]) == (503, "keys_unknown")
    assert answer.headers["retry-after"]
    assert (await post(client, GOOD, None)).status_code == 401


def test_the_document_names_the_permission(app: FastAPI) -> None:
    document = app.openapi()
    assert document["paths"]["/api/things/{thing}"]["post"]["security"] == [{"bearer": ["assign"]}]
    assert "security" not in document["paths"]["/api/open"]["get"]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_a_routes_permission_can_be_found() -> None:
    found = {route.path: required_permission(route) for route in router.routes}  # type: ignore[attr-defined]
    assert found["/api/open"] is None
    required = found["/api/things/{thing}"]
    assert required is not None
    assert required.permission is Permission.ASSIGN
