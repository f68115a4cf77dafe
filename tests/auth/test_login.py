"""Logging in, being somebody, logging out."""

import json
from typing import Any

import bcrypt
import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import event, text

from tests.auth.conftest import bearer, login
from tests.support.service import ServiceUnderTest


async def test_a_login_answers_tokens(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    answer = await login(client, "Clinical@Demo.Example")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    tokens = answer.json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (tokens["expires_in"], tokens["token_type"]) == (300, "Bearer")
    assert len(tokens["refresh_token"]) == 43

    keys = KeySet.import_key_set((await client.get("/.well-known/jwks.json")).json())
    claims = jwt.decode(tokens["access_token"], keys, algorithms=["ES256"]).claims
    [user] = await auth.rows("SELECT id, name FROM users WHERE email = 'clinical@demo.example'")
    [session] = await auth.rows("SELECT * FROM sessions")
    assert claims["sub"] == str(user["id"]) == str(session["user_id"])
    assert claims["sid"] == str(session["id"])
    assert (claims["role"], claims["name"]) == ("clinical_leadership", user["name"])
    assert (claims["iss"], claims["aud"]) == ("quality-compass", "quality-compass")
    assert claims["exp"] - claims["iat"] == 300
    assert claims["jti"]


async def test_tokens_are_not_stored(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    tokens = (await login(client)).json()
    [row] = await auth.rows("SELECT token_hash, successor_salt FROM refresh_tokens")
    assert len(row["token_hash"]) == 32
    for table in ("users", "sessions", "refresh_tokens", "signing_keys", "outbox"):
        [found] = await auth.rows(
            f"SELECT count(*) AS n FROM {table} t WHERE t::text LIKE '%' || :it || '%'",  # noqa: S608
            it=tokens["refresh_token"],
        )
        assert found["n"] == 0


async def test_a_login_is_told(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    await login(client, headers={"x-client-address": "10.1.2.3", "user-agent": "browser" * 100})
    [event] = await auth.events("login.succeeded")
    data = httpx.Response(200, content=bytes(event.data)).json()
    assert event.actorid == event.subject
    assert event.sequence == 2
    assert data["address"] == "10.1.2.3"
    assert data["user"]["role"] == "clinical_leadership"
    assert "email" not in data["user"]
    [session] = await auth.rows("SELECT address, user_agent FROM sessions")
    assert session["address"] == "10.1.2.3"
    assert len(session["user_agent"]) == 255


@pytest.mark.parametrize(
    ("email", "password", "known", "reason"),
    [
        ("clinical@demo.example", "Quality-compass", True, "password"),
        ("nobody@demo.example", "quality-compass", False, "unknown"),
        ("viewer@demo.example", "quality-compass", True, "inactive"),
    ],
)
async def test_refusals_look_alike_and_are_told_apart_in_the_audit_log(
    auth: ServiceUnderTest, client: httpx.AsyncClient, email: str, password: str, known: bool, reason: str
) -> None:
    async with auth.session_maker() as session, session.begin():
        await session.execute(text("UPDATE users SET is_active = false WHERE email = 'viewer@demo.example'"))
    answer = await login(client, email, password)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (401, "invalid_credentials")
    assert problem["detail"] == "The address or the password is wrong."
    [event] = await auth.events("login.failed")
    data = httpx.Response(200, content=bytes(event.data)).json()
    assert data == {"known_user": known, "reason": reason, "address": "127.0.0.1"}
    assert await auth.rows("SELECT * FROM sessions") == []


async def test_an_account_without_a_password_cannot_log_in(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    async with auth.session_maker() as session, session.begin():
        await session.execute(text("UPDATE users SET hashed_password = NULL"))
    assert (await login(client)).status_code == 401


BAD_BODIES: list[Any] = [
    {},
    {"email": "a@b.example"},
    {"email": "a@b.example", "password": "x", "role": "admin"},
    {"email": 1, "password": "x"},
    {"email": "a@b.example", "password": ""},
    {"email": "a@b.example", "password": "x" * 73},
    {"email": "a@b.example", "password": "é" * 37},
    {"email": "a\0@b.example", "password": "x"},
    {"email": "a@b.example", "password": "x\0"},
    {"email": "\ud800@b.example", "password": "x"},
    {"email": "a@b.example", "password": "\udfff"},
    {"email": "x" * 256, "password": "x"},
    ["a@b.example", "x"],
    None,
]


@pytest.mark.parametrize("body", BAD_BODIES)
async def test_malformed_logins_are_422(client: httpx.AsyncClient, body: Any) -> None:
    answer = await client.post(
        "/api/auth/login", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert "a@b.example" not in answer.text


@pytest.mark.parametrize(
    "prepare",
    [
        "SELECT 1",
        "UPDATE users SET is_active = false",
        "UPDATE users SET hashed_password = NULL",
        "UPDATE users SET email = 'moved@demo.example' WHERE email = 'clinical@demo.example'",
    ],
    ids=["wrong password", "inactive", "no password", "unknown"],
)
async def test_every_refusal_takes_the_same_work(
    auth: ServiceUnderTest, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, prepare: str
) -> None:
    """One hash of the configured cost and the same statements, so that time tells nothing either."""
    async with auth.session_maker() as session, session.begin():
        await session.execute(text(prepare))
    costs: list[bytes] = []
    check = bcrypt.checkpw

    def count(password: bytes, hashed: bytes) -> bool:
        costs.append(hashed.split(b"$")[2])
        return check(password, hashed)

    monkeypatch.setattr("pwdlib.hashers.bcrypt.bcrypt.checkpw", count)
    statements: list[str] = []
    connection = auth.session_maker.kw["bind"].sync_connection
    event.listen(connection, "before_cursor_execute", lambda *given: statements.append(given[2].split()[0]))
    assert (await login(client, password="a wrong password")).status_code == 401
    assert costs == [b"04"]
    told = [statement for statement in statements if statement in ("SELECT", "INSERT", "UPDATE", "DELETE")]
    assert told == ["SELECT"] * 4 + ["INSERT"] * 3 + ["SELECT"] + ["INSERT"] * 2


async def test_a_hash_of_another_cost_is_replaced_at_the_next_login(
    auth: ServiceUnderTest, client: httpx.AsyncClient
) -> None:
    async with auth.session_maker() as session, session.begin():
        cheaper = bcrypt.hashpw(b"quality-compass", bcrypt.gensalt(5)).decode()
        await session.execute(text("UPDATE users SET hashed_password = :hash"), {"hash": cheaper})
    assert (await login(client, password="a wrong password")).status_code == 401
    assert (await login(client)).status_code == 200
    assert (await login(client)).status_code == 200
    stored = await auth.rows("SELECT email, substr(hashed_password, 5, 2) AS cost, version FROM users")
    assert {row["email"]: row["cost"] for row in stored if row["cost"] != "05"} == {"clinical@demo.example": "04"}
    assert {row["version"] for row in stored} == {1}
    assert await auth.events("user.updated") == []


async def test_me(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    tokens = (await login(client)).json()
    answer = await client.get("/api/auth/me", headers=bearer(tokens["access_token"]))
    me = answer.json()
    assert me["email"] == "clinical@demo.example"
    assert (me["name"], me["role"]) == ("Demo Clinical Leadership", "clinical_leadership")
    assert "assign" in me["permissions"]
    assert "manage_users" not in me["permissions"]
    assert "hashed_password" not in answer.text
    assert (await client.get("/api/auth/me")).status_code == 401


async def test_after_logout_neither_token_is_good(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    tokens, other = (await login(client)).json(), (await login(client)).json()
    headers = bearer(tokens["access_token"])
    assert (await client.post("/api/auth/logout", headers=headers)).status_code == 204
    await auth.app.state.access.refresh()
    refused = await client.get("/api/auth/me", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (401, "revoked_token")
    again = await client.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert (again.status_code, again.json()["code"]) == (401, "invalid_refresh_token")
    assert (await client.get("/api/auth/me", headers=bearer(other["access_token"]))).status_code == 200


async def test_a_logout_is_told_with_the_revocations_in_force(
    auth: ServiceUnderTest, client: httpx.AsyncClient
) -> None:
    tokens = (await login(client)).json()
    await client.post("/api/auth/logout", headers=bearer(tokens["access_token"]))
    [event] = await auth.events("sessions.revoked")
    data = httpx.Response(200, content=bytes(event.data)).json()
    [session] = await auth.rows("SELECT * FROM sessions")
    assert data["reason"] == "logout"
    assert data["session_ids"] == [str(session["id"])]
    [revocation] = data["user"]["revocations"]
    assert revocation["session_id"] == str(session["id"])
    assert (session["end_reason"], event.sequence) == ("logout", 3)
