"""Changing one's own password, and which ones are refused."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from services.auth.password_rules import complaint
from services.auth.passwords import Turn
from tests.auth.conftest import bearer, login
from tests.support.service import ServiceUnderTest

NEW = "tidal-lantern-harbour"
OLD = "quality-compass"


async def change(client: httpx.AsyncClient, token: str, current: str = OLD, new: str = NEW) -> httpx.Response:
    body = {"current_password": current, "new_password": new}
    return await client.post("/api/auth/password", json=body, headers=bearer(token))


async def test_the_new_password_is_good_and_the_old_one_is_not(
    auth: ServiceUnderTest, client: httpx.AsyncClient
) -> None:
    token = (await login(client)).json()["access_token"]
    answer = await change(client, token)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await login(client)).status_code == 401
    assert (await login(client, password=NEW)).status_code == 200
    [user] = await auth.rows("SELECT id, version FROM users WHERE email = 'clinical@demo.example'")
    assert user["version"] == 2
    [told] = await auth.events("user.updated")
    assert (told.subject, told.actorid) == (user["id"], user["id"])
    assert httpx.Response(200, content=bytes(told.data)).json()["changed"] == ["password"]
    assert NEW.encode() not in bytes(told.data)


async def test_other_sessions_end_and_the_callers_goes_on(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    others, mine = [(await login(client)).json() for _ in range(2)], (await login(client)).json()
    theirs = (await login(client, "viewer@demo.example")).json()
    assert (await change(client, mine["access_token"])).status_code == 204
    await auth.app.state.access.refresh()
    for tokens, status in [(others[0], 401), (others[1], 401), (mine, 200), (theirs, 200)]:
        assert (await client.get("/api/auth/me", headers=bearer(tokens["access_token"]))).status_code == status
        refreshed = await client.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        assert refreshed.status_code == status
    [revoked] = await auth.events("sessions.revoked")
    data = httpx.Response(200, content=bytes(revoked.data)).json()
    assert (data["reason"], len(data["session_ids"])) == ("password_changed", 2)
    assert len(data["user"]["revocations"]) == 2


async def test_a_wrong_current_password_changes_nothing_and_is_audited(
    auth: ServiceUnderTest, client: httpx.AsyncClient
) -> None:
    token = (await login(client)).json()["access_token"]
    answer = await change(client, token, current="not the password")
    assert (answer.status_code, answer.json()["code"]) == (422, "wrong_password")
    assert answer.json()["errors"] == [{"pointer": "/body/current_password", "detail": "is wrong"}]
    [failed] = await auth.events("login.failed")
    assert httpx.Response(200, content=bytes(failed.data)).json()["reason"] == "current_password"
    assert (await login(client)).status_code == 200
    assert await auth.events("user.updated") == []


async def test_who_guesses_the_current_password_has_to_wait(client: httpx.AsyncClient) -> None:
    token = (await login(client)).json()["access_token"]
    answers = [await change(client, token, current="not the password") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [422] * 6 + [429]
    right = await change(client, token)
    assert (right.status_code, right.json()["code"]) == (429, "login_throttled")
    assert int(right.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("new", "why"),
    [
        ("password1234", "easy to guess"),
        ("123qweasdzxc", "easy to guess"),
        ("qwertyuiop12", "easy to guess"),
        ("aaaaaaaaaaaaaaaa", "easy to guess"),
        ("Password2026!", "easy to guess"),
        ("clinical@demo.example", "your name, your address"),
        ("demo-clinical-leadership", "your name, your address"),
        ("Clinical.Demo.1", "your name, your address"),
        ("Quality.Compass!1", "name of this product"),
    ],
)
async def test_passwords_that_are_guessed_first_are_refused(client: httpx.AsyncClient, new: str, why: str) -> None:
    token = (await login(client)).json()["access_token"]
    answer = await change(client, token, new=new)
    assert (answer.status_code, answer.json()["code"]) == (422, "refused_password")
    [problem] = answer.json()["errors"]
    assert problem["pointer"] == "/body/new_password"
    assert why in problem["detail"]
    assert new not in answer.text
    assert (await login(client)).status_code == 200


async def test_the_new_password_is_another_one(client: httpx.AsyncClient) -> None:
    token = (await login(client)).json()["access_token"]
    problem = (await change(client, token, new=OLD)).json()
    assert (problem["code"], problem["errors"][0]["detail"]) == ("refused_password", "must differ from the present one")


@pytest.mark.parametrize(
    "body",
    [
        {"current_password": OLD},
        {"new_password": NEW},
        {"current_password": OLD, "new_password": "elevenbytes"},
        {"current_password": OLD, "new_password": "x" * 73},
        {"current_password": OLD, "new_password": "é" * 37},
        {"current_password": OLD, "new_password": "tidal-lantern\0harbour"},
        {"current_password": OLD, "new_password": 123456789012},
        {"current_password": "x" * 73, "new_password": NEW},
        {"current_password": OLD, "new_password": NEW, "user_id": "x"},
    ],
)
async def test_malformed_changes_are_422(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    token = (await login(client)).json()["access_token"]
    answer = await client.post("/api/auth/password", json=body, headers=bearer(token))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert NEW not in answer.text
    assert (await client.post("/api/auth/password", json=body)).status_code == 401


@pytest.mark.parametrize(
    "new", ["blue-kettle-9", "tidal-lantern-harbour" * 3 + "123456789", "日本語のパスワードです本当"]
)
async def test_from_12_to_72_bytes_are_taken(client: httpx.AsyncClient, new: str) -> None:
    assert 12 <= len(new.encode()) <= 72
    token = (await login(client)).json()["access_token"]
    assert (await change(client, token, new=new)).status_code == 204
    assert (await login(client, password=new)).status_code == 200


async def test_two_changes_at_once_leave_one_password(
    auth: ServiceUnderTest, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password that somebody else set while ours was hashed is not overwritten."""
    token = (await login(client)).json()["access_token"]
    hash_password = Turn.hash

    async def meanwhile(turn: Turn, password: str) -> str:
        async with auth.session_maker() as session, session.begin():
            await session.execute(text("UPDATE users SET hashed_password = 'another'"))
        return await hash_password(turn, password)

    monkeypatch.setattr(Turn, "hash", meanwhile)
    answer = await change(client, token)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert {row["hashed_password"] for row in await auth.rows("SELECT hashed_password FROM users")} == {"another"}


async def test_a_login_with_the_old_password_that_began_before_is_refused(
    auth: ServiceUnderTest, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Turn.verify

    async def meanwhile(turn: Turn, password: str, hashed: str | None) -> bool:
        matches = await check(turn, password, hashed)
        async with auth.session_maker() as session, session.begin():
            await session.execute(text("UPDATE users SET hashed_password = 'another'"))
        return matches

    monkeypatch.setattr(Turn, "verify", meanwhile)
    assert (await login(client)).status_code == 401
    assert await auth.rows("SELECT * FROM sessions") == []


@given(st.text(min_size=1, max_size=72), st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_judged(password: str, email: str, name: str) -> None:
    complaint(password, email, name)
    assert complaint(email or "compass", email, name)


@pytest.mark.parametrize("word", ["blue-kettle-9", "!#$%&/()=?^*+~", "correct horse battery"])
def test_what_is_hard_to_guess_is_taken(word: str) -> None:
    assert complaint(word, "ward@hospital.example", "Ward Manager") is None
