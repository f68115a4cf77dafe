"""Requests that meet: each on a connection of its own, with real commits and real locks."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from services.auth import service_throttling
from services.auth.service_throttling import ATTACKED_FROM, Place
from shared.errors import TooManyRequestsError
from tests.auth.conftest import bearer, caller, login
from tests.support.eventually import eventually

OWNERS, FRESH = {"x-client-address": "192.0.2.1"}, {"x-client-address": "192.0.2.2"}


@pytest.fixture
async def client(live: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Anybody."""
    async with caller(live) as client:
        yield client


async def administrator(client: httpx.AsyncClient) -> dict[str, str]:
    return bearer((await login(client, "admin@demo.example")).json()["access_token"])


async def rows(app: FastAPI, sql: str, **parameters: Any) -> list[dict[str, Any]]:
    async with app.state.session_maker() as session, session.begin():
        found = await session.execute(text(sql), parameters)
        return [dict(row) for row in found.mappings()] if found.returns_rows else []


async def attack(client: httpx.AsyncClient, addresses: int) -> list[int]:
    """One attempt at one account from each of so many addresses, all at once."""
    answers = await asyncio.gather(
        *(
            login(client, password="a wrong password", headers={"x-client-address": f"198.51.100.{number}"})
            for number in range(addresses)
        )
    )
    assert all(answer.status_code == 401 or int(answer.headers["retry-after"]) > 0 for answer in answers)
    return [answer.status_code for answer in answers]


async def test_the_owner_gets_in_while_many_try(live: FastAPI, client: httpx.AsyncClient) -> None:
    """From where they have been before at any time; from anywhere once the attackers' addresses have to wait."""
    assert (await login(client, headers=OWNERS)).status_code == 200
    for _ in range(2):
        attempts = asyncio.create_task(attack(client, 40))
        # In the middle of them.
        assert (await login(client, headers=OWNERS)).status_code == 200
        assert set(await attempts) <= {401, 429}
    for _ in range(40):
        if 401 not in await attack(client, 40):
            break
    else:
        pytest.fail("forty addresses still get attempts after forty rounds")
    assert (await login(client, headers=FRESH)).status_code == 200
    [failed] = await rows(
        live, "SELECT count(*) FROM login_throttles WHERE scope = 'account' AND failures > :free", free=ATTACKED_FROM
    )
    assert failed["count"] == 1


async def test_a_burst_from_one_address_is_stopped(live: FastAPI, client: httpx.AsyncClient) -> None:
    """From one place no more can wait for their turn than have places."""
    await asyncio.gather(*(login(client, password="a wrong password", headers=FRESH) for _ in range(100)))
    again = await login(client, headers=FRESH)
    assert (again.status_code, again.json()["code"]) == (429, "login_throttled")
    assert (await login(client, headers=OWNERS)).status_code == 200


async def test_however_many_try_a_session_finds_a_connection(live: FastAPI, client: httpx.AsyncClient) -> None:
    """Each attempt asks the database first: all of them together must not keep everybody else from it."""
    headers = await administrator(client)
    async with live.state.session_maker() as slow, slow.begin():
        await slow.execute(text("LOCK TABLE login_throttles IN ACCESS EXCLUSIVE MODE"))
        attempts = asyncio.create_task(attack(client, 60))
        async with live.state.session_maker() as session:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'login_throttles'::regclass"
            await eventually(lambda: session.scalar(text(waiting)))
        answers = await asyncio.gather(*(client.get("/api/auth/me", headers=headers) for _ in range(10)))
        assert [answer.status_code for answer in answers] == [200] * 10
        assert not attempts.done()
    assert set(await attempts) <= {401, 429}


async def test_of_attempts_that_were_admitted_together_no_more_are_checked(
    live: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sixth failure stops those that wait for their turn already."""
    slow = service_throttling.Rule(free=5, first=timedelta(minutes=1), longest=timedelta(minutes=15))
    monkeypatch.setattr(service_throttling, "STRANGE_PLACE", slow)
    place, tools, maker = Place("a@b.example", "192.0.2.9"), live.state.tools, live.state.session_maker
    outcomes: list[Any] = await asyncio.gather(
        *(service_throttling.check(maker, tools, place, place.caller, "wrong", None) for _ in range(8)),
        return_exceptions=True,
    )
    assert [outcome is False for outcome in outcomes] == [True] * 6 + [False] * 2
    assert {type(outcome) for outcome in outcomes[6:]} == {TooManyRequestsError}


@pytest.mark.parametrize("change", [{"role": "viewer"}, {"is_active": False}])
async def test_two_administrators_who_remove_each_other_leave_one(
    live: FastAPI, client: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    await rows(live, "UPDATE users SET role = 'admin' WHERE email = 'nursing@demo.example'")
    headers = await administrator(client)
    ids = [row["id"] for row in await rows(live, "SELECT id FROM users WHERE role = 'admin'")]
    answers = await asyncio.gather(
        *(client.patch(f"/api/users/{user}", json=change, headers=headers) for user in ids for _ in range(3))
    )
    assert {answer.status_code for answer in answers} == {200, 409}
    left = await rows(live, "SELECT email FROM users WHERE role = 'admin' AND is_active")
    assert len(left) == 1


async def test_one_of_two_changes_of_the_same_version_is_refused(live: FastAPI, client: httpx.AsyncClient) -> None:
    headers = await administrator(client)
    [user] = await rows(live, "SELECT id FROM users WHERE role = 'viewer'")
    path = f"/api/users/{user['id']}"
    answers = await asyncio.gather(
        *(
            client.patch(path, json={"name": f"Name {number}"}, headers=headers | {"if-match": '"1"'})
            for number in range(5)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412]
    [told] = await rows(live, "SELECT count(*) FROM outbox WHERE convert_from(value, 'UTF8') LIKE '%user.updated%'")
    assert told["count"] == 1


async def test_an_address_is_given_once(live: FastAPI, client: httpx.AsyncClient) -> None:
    headers = await administrator(client)
    body = {"email": "ward@hospital.example", "name": "Ward", "role": "viewer"}
    answers = await asyncio.gather(
        *(client.post("/api/users", json=body | {"name": f"Ward {n}"}, headers=headers) for n in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    key = headers | {"idempotency-key": "once"}
    body = {"email": "grace@hospital.example", "name": "Grace", "role": "viewer"}
    answers = await asyncio.gather(*(client.post("/api/users", json=body, headers=key) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len([answer for answer in answers if answer.json()["initial_password"]]) == 1


async def test_no_session_begins_or_goes_on_beside_a_deactivation(live: FastAPI, client: httpx.AsyncClient) -> None:
    """Whichever comes first: afterwards nobody holds a session that goes on."""
    headers = await administrator(client)
    [user] = await rows(live, "SELECT id FROM users WHERE role = 'viewer'")
    token = (await login(client, "viewer@demo.example")).json()["refresh_token"]
    await asyncio.gather(
        *(login(client, "viewer@demo.example") for _ in range(3)),
        *(client.post("/api/auth/refresh", json={"refresh_token": token}) for _ in range(3)),
        client.delete(f"/api/users/{user['id']}", headers=headers),
    )
    assert await rows(live, "SELECT id FROM sessions WHERE user_id = :id AND ended_at IS NULL", id=user["id"]) == []
    assert (await client.post("/api/auth/refresh", json={"refresh_token": token})).status_code == 401
    assert (await login(client, "viewer@demo.example")).status_code == 401


async def test_concurrent_refreshes_after_the_grace_are_one_reuse(live: FastAPI, client: httpx.AsyncClient) -> None:
    token = (await login(client)).json()["refresh_token"]
    await client.post("/api/auth/refresh", json={"refresh_token": token})
    await rows(live, "UPDATE refresh_tokens SET used_at = used_at - interval '1 minute'")
    answers = await asyncio.gather(*(client.post("/api/auth/refresh", json={"refresh_token": token}) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {401}
    [told] = await rows(live, "SELECT count(*) FROM outbox WHERE convert_from(value, 'UTF8') LIKE '%refresh.reused%'")
    assert told["count"] == 1
    assert await rows(live, "SELECT id FROM sessions WHERE ended_at IS NULL") == []
