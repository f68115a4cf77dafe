"""One's own sessions are seen and ended one by one; nobody else's are."""

from typing import Any
from uuid import uuid4

import httpx

from tests.auth.conftest import bearer, login
from tests.support.service import ServiceUnderTest


async def tokens(client: httpx.AsyncClient, email: str = "clinical@demo.example") -> dict[str, Any]:
    answer: dict[str, Any] = (await login(client, email, headers={"user-agent": "a browser"})).json()
    return answer


async def seen(client: httpx.AsyncClient, access_token: str) -> list[dict[str, Any]]:
    answer = await client.get("/api/auth/sessions", headers=bearer(access_token))
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["sessions"]
    return found


async def test_sessions_are_listed_with_the_present_one_marked(client: httpx.AsyncClient) -> None:
    first, second = await tokens(client), await tokens(client)
    await tokens(client, "viewer@demo.example")
    listed = await seen(client, second["access_token"])
    assert [item["is_current"] for item in listed] == [True, False]
    assert {item["user_agent"] for item in listed} == {"a browser"}
    assert "token" not in str(listed)
    refreshed = await client.post("/api/auth/refresh", json={"refresh_token": first["refresh_token"]})
    assert [item["is_current"] for item in await seen(client, refreshed.json()["access_token"])] == [True, False]


async def test_one_session_is_ended(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    lost, kept = await tokens(client), await tokens(client)
    [other] = [item["id"] for item in await seen(client, kept["access_token"]) if not item["is_current"]]
    path = f"/api/auth/sessions/{other}"
    assert (await client.delete(path, headers=bearer(kept["access_token"]))).status_code == 204
    await auth.app.state.access.refresh()
    assert (await client.get("/api/auth/me", headers=bearer(lost["access_token"]))).json()["code"] == "revoked_token"
    assert (await client.post("/api/auth/refresh", json={"refresh_token": lost["refresh_token"]})).status_code == 401
    assert len(await seen(client, kept["access_token"])) == 1
    assert (await client.delete(path, headers=bearer(kept["access_token"]))).status_code == 404
    [event] = await auth.events("sessions.revoked")
    assert b'"revoked"' in bytes(event.data)


async def test_all_others_are_ended_at_once(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    lost, kept = [await tokens(client) for _ in range(3)], await tokens(client)
    headers = bearer(kept["access_token"])
    assert (await client.delete("/api/auth/sessions", headers=headers)).status_code == 204
    await auth.app.state.access.refresh()
    assert [item["is_current"] for item in await seen(client, kept["access_token"])] == [True]
    for item in lost:
        assert (await client.get("/api/auth/me", headers=bearer(item["access_token"]))).status_code == 401
    assert len(await auth.events("sessions.revoked")) == 1
    assert (await client.delete("/api/auth/sessions", headers=headers)).status_code == 204
    assert len(await auth.events("sessions.revoked")) == 1


async def test_nobody_elses_session_is_ended(client: httpx.AsyncClient) -> None:
    mine, theirs = await tokens(client, "admin@demo.example"), await tokens(client)
    [session] = await seen(client, theirs["access_token"])
    for unknown in (session["id"], uuid4()):
        answer = await client.delete(f"/api/auth/sessions/{unknown}", headers=bearer(mine["access_token"]))
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert len(await seen(client, theirs["access_token"])) == 1


async def test_sessions_need_a_token(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/auth/sessions")).status_code == 401
    assert (await client.delete("/api/auth/sessions")).status_code == 401
    assert (await client.delete("/api/auth/sessions/not-an-id")).status_code == 401
    mine = await tokens(client)
    answer = await client.delete("/api/auth/sessions/not-an-id", headers=bearer(mine["access_token"]))
    assert answer.status_code == 422
