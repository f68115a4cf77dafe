"""Nothing secret is logged, at the most talkative level of everything that can log."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import asyncpg
import httpx
import pytest
import structlog
from fastapi import FastAPI
from sqlalchemy import text

from deploy.local.postgres import EmbeddedPostgres
from shared import telemetry
from tests.auth.conftest import KEY, bearer, caller, login

NEW = "tidal-lantern-harbour"
WRONG = "a-wrong-password-of-somebody"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the service would write, with every logger at DEBUG."""
    written = io.StringIO()
    monkeypatch.setattr("sys.stdout", written)
    root = logging.getLogger()
    before, level, levels = root.handlers[:], root.level, {}
    configuration = structlog.get_config()
    telemetry.configure_logging("auth", "DEBUG")
    structlog.configure(cache_logger_on_first_use=False)
    for name in (
        "sqlalchemy",
        "sqlalchemy.engine",
        "sqlalchemy.pool",
        "sqlalchemy.orm",
        "asyncpg",
        "asyncio",
        "uvicorn",
    ):
        levels[name] = logging.getLogger(name).level
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield written
    for name, former in levels.items():
        logging.getLogger(name).setLevel(former)
    root.handlers[:] = before
    root.setLevel(level)
    structlog.configure(**configuration)


async def everything(client: httpx.AsyncClient) -> set[str]:
    """Every way in which a secret comes in or goes out; answers the secrets."""
    secrets = {"quality-compass-password", NEW, WRONG, KEY, KEY.rstrip("=")}

    def keep(answer: httpx.Response) -> dict[str, Any]:
        body: dict[str, Any] = answer.json()
        for name in ("access_token", "refresh_token", "initial_password"):
            if body.get(name):
                secrets.add(body[name])
        return body

    tokens = keep(await login(client))
    keep(await login(client, password=WRONG))
    keep(await login(client, "nobody@hospital.example", WRONG))
    tokens = keep(await client.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]}))
    headers = bearer(tokens["access_token"])
    await client.get("/api/auth/me", headers=headers)
    await client.get("/api/auth/me", headers=bearer("not.a.token-of-ours"))
    body = {"current_password": WRONG, "new_password": NEW}
    await client.post("/api/auth/password", json=body, headers=headers)
    await client.post("/api/auth/password", json={**body, "current_password": "quality-compass"}, headers=headers)
    await client.post(
        "/api/auth/password", json={"current_password": [NEW], "new_password": {NEW: NEW}}, headers=headers
    )
    await client.post("/api/auth/login", content=f'{{"email": "a@b.example", "password": "{WRONG}"', headers=headers)

    admin = bearer(keep(await login(client, "admin@demo.example"))["access_token"])
    new = {"email": "ward@hospital.example", "name": "Ward", "role": "viewer"}
    made = keep(await client.post("/api/users", json=new, headers=admin | {"idempotency-key": "once"}))
    first = {"email": new["email"], "password": made["initial_password"], "new_password": NEW}
    keep(await client.post("/api/auth/login", json=first))
    keep(await client.patch(f"/api/users/{made['id']}", json={"reset_password": True}, headers=admin))
    await client.post("/api/auth/logout", headers=headers)
    return secrets


async def test_no_secret_is_logged(live: FastAPI, log: io.StringIO, postgres: EmbeddedPostgres) -> None:
    async with caller(live) as client:
        secrets = await everything(client)
        # What the database keeps of them is a secret as well, also where a statement fails.
        async with live.state.session_maker() as session:
            stored = await session.execute(text("SELECT hashed_password FROM users"))
            secrets |= {str(value) for value in stored.scalars()}
        await _as_owner(postgres, "ALTER TABLE users ADD CONSTRAINT broken CHECK (version < 2) NOT VALID")
        body = {"email": "viewer@demo.example", "password": "quality-compass"}
        token = (await client.post("/api/auth/login", json=body)).json()["access_token"]
        change = {"current_password": "quality-compass", "new_password": NEW}
        try:
            failed = await client.post("/api/auth/password", json=change, headers=bearer(token))
        finally:
            await _as_owner(postgres, "ALTER TABLE users DROP CONSTRAINT broken")
        assert failed.status_code == 500
        assert NEW not in failed.text
    lines = log.getvalue()
    assert "unexpected failure" in lines
    assert all(json.loads(line) for line in lines.splitlines())
    assert "sqlalchemy" in lines
    assert [secret for secret in secrets if secret in lines] == []
    assert "[parameters:" not in lines
    assert "$2b$" not in lines
    assert "eyJ" not in lines


async def _as_owner(postgres: EmbeddedPostgres, sql: str) -> None:
    connection = await asyncpg.connect(
        postgres.owner_url("auth", "auth_tests"), server_settings={"search_path": "auth"}
    )
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "secret",
    [
        "$2b$12$" + "a./Z9" * 10 + "abc",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
        "Bearer c2VjcmV0LXRva2Vu==",
        "compass_auth:a-long-pass%2Fword@",
    ],
)
def test_what_looks_like_a_secret_is_left_out_of_any_line(log: io.StringIO, secret: str) -> None:
    about = f"postgresql://{secret}127.0.0.1/compass" if secret.endswith("@") else f"about {secret}, said the server"
    logging.getLogger("asyncpg").warning("failed: %s", about)
    structlog.get_logger("shared.errors").error("failed", error=about, exc_info=ValueError(about))
    plain, rich = (json.loads(line) for line in log.getvalue().splitlines())
    assert secret.removesuffix("@") not in log.getvalue()
    assert "***" in plain["event"]
    assert "***" in rich["error"]
    assert "***" in rich["exception"]
    assert "127.0.0.1/compass" in plain["event"] or "said the server" in plain["event"]


async def test_a_request_is_logged_with_who_made_it(live: FastAPI, log: io.StringIO) -> None:
    async with caller(live) as client:
        headers = bearer((await login(client)).json()["access_token"])
        assert (await client.get("/api/users", headers=headers)).status_code == 403
        me = (await client.get("/api/auth/me", headers=headers)).json()["id"]
        assert (await client.get("/api/auth/me")).status_code == 401
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    requests = [(line["path"], line["status"], line.get("user_id")) for line in lines if line["event"] == "request"]
    assert requests[1:] == [("/api/users", 403, me), ("/api/auth/me", 200, me), ("/api/auth/me", 401, None)]
