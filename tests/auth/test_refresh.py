"""Refresh tokens: single use, one family per session, a short grace for a lost answer."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from services.auth import demo_users, service, service_upkeep, service_users
from services.auth.main import create
from services.auth.service_tools import Tools
from services.auth.settings import AuthSettings
from services.auth.turns import Caller
from shared.db import create_engine, create_session_maker
from shared.errors import UnauthenticatedError
from shared.events.vocabulary import UserRole
from tests.auth.conftest import bearer, login
from tests.support.eventually import eventually
from tests.support.locks import waiting_for_locks
from tests.support.service import ServiceUnderTest


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/api/auth/refresh", json={"refresh_token": token})


async def age(auth: ServiceUnderTest, by: timedelta) -> None:
    """Let every use of a refresh token have been longer ago."""
    async with auth.session_maker() as session, session.begin():
        await session.execute(text("UPDATE refresh_tokens SET used_at = used_at - CAST(:by AS interval)"), {"by": by})


async def test_a_refresh_gives_the_next_token_of_the_same_session(
    auth: ServiceUnderTest, client: httpx.AsyncClient
) -> None:
    first = (await login(client)).json()["refresh_token"]
    seen = {first}
    for _ in range(3):
        await age(auth, timedelta(minutes=5))
        answer = await refresh(client, first)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        first = answer.json()["refresh_token"]
        assert first not in seen
        seen.add(first)
        assert (await client.get("/api/auth/me", headers=bearer(answer.json()["access_token"]))).status_code == 200
    assert len(await auth.rows("SELECT * FROM sessions")) == 1


async def test_a_retry_within_the_grace_gives_the_same_next_token(
    auth: ServiceUnderTest, client: httpx.AsyncClient
) -> None:
    token = (await login(client)).json()["refresh_token"]
    lost = (await refresh(client, token)).json()["refresh_token"]
    await age(auth, timedelta(seconds=8))
    retried = (await refresh(client, token)).json()["refresh_token"]
    assert retried == lost
    assert (await refresh(client, retried)).status_code == 200
    assert await auth.events("refresh.reused") == []


async def test_reuse_after_the_grace_ends_the_session(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    tokens = (await login(client)).json()
    following = (await refresh(client, tokens["refresh_token"])).json()
    await age(auth, timedelta(seconds=11))
    reused = await refresh(client, tokens["refresh_token"])
    assert (reused.status_code, reused.json()["code"]) == (401, "invalid_refresh_token")
    assert (await refresh(client, following["refresh_token"])).status_code == 401
    await auth.app.state.access.refresh()
    refused = await client.get("/api/auth/me", headers=bearer(following["access_token"]))
    assert refused.json()["code"] == "revoked_token"

    [session] = await auth.rows("SELECT id, end_reason FROM sessions")
    assert session["end_reason"] == "refresh_reused"
    [reuse] = await auth.events("refresh.reused")
    [revoked] = await auth.events("sessions.revoked")
    assert reuse.sequence == revoked.sequence + 1
    told = httpx.Response(200, content=bytes(reuse.data)).json()
    assert told["session_id"] == str(session["id"])
    assert told["user"]["revocations"][0]["session_id"] == str(session["id"])


async def test_reuse_ends_the_session_at_once_when_the_next_token_was_used(
    auth: ServiceUnderTest, client: httpx.AsyncClient
) -> None:
    first = (await login(client)).json()["refresh_token"]
    second = (await refresh(client, first)).json()["refresh_token"]
    third = (await refresh(client, second)).json()["refresh_token"]
    assert (await refresh(client, first)).status_code == 401
    assert (await refresh(client, third)).status_code == 401
    assert len(await auth.events("refresh.reused")) == 1


async def test_a_second_reuse_is_not_told_again(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    first = (await login(client)).json()["refresh_token"]
    await refresh(client, first)
    await age(auth, timedelta(minutes=1))
    for _ in range(3):
        assert (await refresh(client, first)).status_code == 401
    assert len(await auth.events("refresh.reused")) == 1


async def test_other_sessions_of_the_user_go_on(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    first, other = [(await login(client)).json()["refresh_token"] for _ in range(2)]
    await refresh(client, first)
    await age(auth, timedelta(minutes=1))
    await refresh(client, first)
    assert (await refresh(client, other)).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE sessions SET expires_at = now() - interval '1 second'",
        "UPDATE sessions SET ended_at = now(), end_reason = 'revoked'",
        "UPDATE users SET is_active = false",
        "DELETE FROM sessions",
    ],
)
async def test_a_session_that_is_over_cannot_be_refreshed(
    auth: ServiceUnderTest, client: httpx.AsyncClient, change: str
) -> None:
    token = (await login(client)).json()["refresh_token"]
    async with auth.session_maker() as session, session.begin():
        await session.execute(text(change))
    assert (await refresh(client, token)).json()["code"] == "invalid_refresh_token"
    assert await auth.events("refresh.reused") == []


@pytest.mark.parametrize("token", ["x", "A" * 43, "é" * 20])
async def test_unknown_tokens_are_refused(client: httpx.AsyncClient, token: str) -> None:
    assert (await refresh(client, token)).json()["code"] == "invalid_refresh_token"


@pytest.mark.parametrize("body", [{}, {"refresh_token": ""}, {"refresh_token": 1}, {"refresh_token": "x" * 201}])
async def test_malformed_refreshes_are_422(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await client.post("/api/auth/refresh", json=body)).status_code == 422


async def test_no_token_outlives_its_session(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    token = (await login(client)).json()["refresh_token"]
    async with auth.session_maker() as session, session.begin():
        await session.execute(text("UPDATE sessions SET expires_at = clock_timestamp() + interval '30 seconds'"))
    assert 25 <= (await refresh(client, token)).json()["expires_in"] <= 30


async def test_a_changed_role_is_in_the_next_token(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    token = (await login(client)).json()["refresh_token"]
    async with auth.session_maker() as session, session.begin():
        await session.execute(text("UPDATE users SET role = 'viewer' WHERE email = 'clinical@demo.example'"))
    access_token = (await refresh(client, token)).json()["access_token"]
    assert auth.app.state.access.verify(access_token).role is UserRole.VIEWER


async def test_concurrent_refreshes_end_in_one_valid_session(own_database: AuthSettings) -> None:
    """Six at once, on connections of their own."""
    app = create(own_database)
    tools: Tools = app.state.tools
    engine = create_engine(own_database, "auth")
    maker = create_session_maker(engine)
    try:
        await service_upkeep.once(maker, tools)
        async with tools.passwords.turn(Caller("a", is_known=True)) as turn:
            hashed = await turn.hash(demo_users.PASSWORD)
        async with maker() as session, session.begin():
            await service_users.create(session, "a@b.example", "A", UserRole.ADMIN, hashed)
        attempt = service.Attempt("a@b.example", demo_users.PASSWORD, "10.0.0.1", None)
        async with maker() as session, session.begin():
            begun = await service.login(session, maker, tools, attempt)
        assert isinstance(begun, service.Granted)

        async def refresh_once(token: str) -> service.Granted | UnauthenticatedError:
            async with maker() as session, session.begin():
                return await service.refresh(session, tools, token, None)

        # Held up where the first of them turns the token in, so that all have begun before any is done.
        async with maker() as holder, holder.begin():
            await holder.execute(text("SELECT * FROM refresh_tokens FOR UPDATE"))
            refreshes = [asyncio.create_task(refresh_once(begun.refresh_token)) for _ in range(6)]
            await eventually(partial(waiting_for_locks, maker), lambda number: number == 6)
        answers = await asyncio.gather(*refreshes)
        following = {answer.refresh_token for answer in answers if isinstance(answer, service.Granted)}
        assert len(following) == 1
        assert all(isinstance(answer, service.Granted) for answer in answers)
        assert isinstance(await refresh_once(following.pop()), service.Granted)
        async with maker() as session:
            [row] = await session.execute(text("SELECT count(*), count(ended_at) FROM sessions"))
        assert tuple(row) == (1, 0)
    finally:
        await engine.dispose()


@pytest.mark.parametrize(("idle", "status"), [(timedelta(minutes=119), 200), (timedelta(minutes=121), 401)])
async def test_a_session_that_is_left_alone_ends(
    auth: ServiceUnderTest, client: httpx.AsyncClient, idle: timedelta, status: int
) -> None:
    token = (await login(client)).json()["refresh_token"]
    async with auth.session_maker() as session, session.begin():
        await session.execute(
            text("UPDATE sessions SET last_used_at = last_used_at - CAST(:by AS interval)"), {"by": idle}
        )
    mine = (await login(client)).json()
    listed = await client.get("/api/auth/sessions", headers=bearer(mine["access_token"]))
    assert len(listed.json()["sessions"]) == (2 if status == 200 else 1)
    assert (await refresh(client, token)).status_code == status
    assert await auth.events("refresh.reused") == []
