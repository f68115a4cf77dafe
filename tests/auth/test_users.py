"""Accounts: made, seen, changed, deactivated, by administrators and nobody else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from tests.auth.conftest import login
from tests.support.service import ServiceUnderTest

WARD = {"email": "Ward@Hospital.example", "name": " Ward Manager ", "role": "nursing_leadership"}
CHOSEN = "tidal-lantern-harbour"


@asynccontextmanager
async def logged_in(auth: ServiceUnderTest, email: str) -> AsyncIterator[httpx.AsyncClient]:
    """A caller with a session of their own."""
    async with auth.client(None) as client:
        tokens = (await login(client, email)).json()
        client.headers["authorization"] = f"Bearer {tokens['access_token']}"
        yield client


@pytest.fixture
async def viewer(auth: ServiceUnderTest) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who may read only."""
    async with logged_in(auth, "viewer@demo.example") as client:
        yield client


@pytest.fixture
async def admin(auth: ServiceUnderTest) -> AsyncIterator[httpx.AsyncClient]:
    """The only administrator."""
    async with logged_in(auth, "admin@demo.example") as client:
        yield client


async def made(admin: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await admin.post("/api/users", json=WARD | changes)
    assert answer.status_code == 201, answer.text
    user: dict[str, Any] = answer.json()
    return user


async def path_of(auth: ServiceUnderTest, email: str) -> str:
    [user] = await auth.rows("SELECT id FROM users WHERE email = :email", email=email)
    return f"/api/users/{user['id']}"


def data(event: Any) -> dict[str, Any]:
    decoded: dict[str, Any] = httpx.Response(200, content=bytes(event.data)).json()
    return decoded


async def test_a_new_account_is_told_and_has_an_initial_password(
    auth: ServiceUnderTest, admin: httpx.AsyncClient
) -> None:
    answer = await admin.post("/api/users", json=WARD)
    user = answer.json()
    assert answer.headers["etag"] == user["etag"] == '"1"'
    assert answer.headers["cache-control"] == "no-store"
    assert (user["email"], user["name"], user["role"]) == (
        "ward@hospital.example",
        "Ward Manager",
        "nursing_leadership",
    )
    assert (user["is_active"], user["must_change_password"]) == (True, True)
    assert len(user["initial_password"]) == 23
    [created] = [event for event in await auth.events("user.created") if event.subject == UUID(user["id"])]
    [me] = await auth.rows("SELECT id FROM users WHERE email = 'admin@demo.example'")
    assert created.actorid == me["id"]
    assert data(created)["user"] == {
        "user_id": user["id"],
        "name": "Ward Manager",
        "role": "nursing_leadership",
        "is_active": True,
        "revocations": [],
    }
    shown = await admin.get(f"/api/users/{user['id']}")
    assert shown.headers["etag"] == '"1"'
    assert "initial_password" not in shown.json()
    stored = str(await auth.rows("SELECT * FROM users")) + str(await auth.rows("SELECT * FROM outbox"))
    assert user["initial_password"] not in stored


async def test_the_first_login_replaces_the_initial_password(
    auth: ServiceUnderTest, admin: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    user = await made(admin)
    body = {"email": "ward@hospital.example", "password": user["initial_password"]}
    without = await client.post("/api/auth/login", json=body)
    assert (without.status_code, without.json()["code"]) == (403, "password_change_required")
    for refused, code in [(user["initial_password"], "refused_password"), ("password1234", "refused_password")]:
        weak = await client.post("/api/auth/login", json=body | {"new_password": refused})
        assert (weak.status_code, weak.json()["code"]) == (422, code)
        assert weak.json()["errors"][0]["pointer"] == "/body/new_password"
    assert await auth.rows("SELECT * FROM sessions WHERE user_id = :id", id=UUID(user["id"])) == []

    first = await client.post("/api/auth/login", json=body | {"new_password": CHOSEN})
    assert first.status_code == 200
    again = await client.post("/api/auth/login", json=body | {"new_password": "another-lantern-harbour"})
    assert again.status_code == 401
    assert (await login(client, "ward@hospital.example", CHOSEN)).status_code == 200
    shown = (await admin.get(f"/api/users/{user['id']}")).json()
    assert (shown["must_change_password"], shown["etag"]) == (False, '"2"')
    told = [event.type for event in await auth.events() if event.subject == UUID(user["id"])]
    expected = ("user.created", "user.updated", "login.succeeded", "login.failed", "login.succeeded")
    assert told == [f"compass.{name}.v1" for name in expected]


async def test_a_wrong_initial_password_tells_nothing(admin: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    await made(admin)
    answer = await client.post(
        "/api/auth/login",
        json={"email": "ward@hospital.example", "password": "not-the-initial-one", "new_password": CHOSEN},
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")


async def test_an_initial_password_expires(
    auth: ServiceUnderTest, admin: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    user = await made(admin)
    late = "UPDATE users SET initial_password_until = now() - interval '1 s' WHERE email = 'ward@hospital.example'"
    async with auth.session_maker() as session, session.begin():
        await session.execute(text(late))
    body = {"email": "ward@hospital.example", "password": user["initial_password"], "new_password": CHOSEN}
    assert (await client.post("/api/auth/login", json=body)).json()["code"] == "invalid_credentials"
    failed = (await auth.events("login.failed"))[-1]
    assert data(failed)["reason"] == "expired"


async def test_a_new_password_is_for_initial_ones_only(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/api/auth/login",
        json={"email": "viewer@demo.example", "password": "quality-compass", "new_password": CHOSEN},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "refused_password")
    assert (await login(client, "viewer@demo.example")).status_code == 200


async def test_a_reset_password_ends_all_sessions(
    auth: ServiceUnderTest, admin: httpx.AsyncClient, viewer: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    path = await path_of(auth, "viewer@demo.example")
    answer = await admin.patch(path, json={"reset_password": True})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    await auth.app.state.access.refresh()
    assert (await viewer.get("/api/auth/me")).json()["code"] == "revoked_token"
    assert (await login(client, "viewer@demo.example")).status_code == 401
    body = {"email": "viewer@demo.example", "password": answer.json()["initial_password"], "new_password": CHOSEN}
    assert (await client.post("/api/auth/login", json=body)).status_code == 200
    own = await admin.patch(await path_of(auth, "admin@demo.example"), json={"reset_password": True})
    assert (own.status_code, own.json()["code"]) == (409, "own_password")


async def test_addresses_are_unique_in_any_letter_case(auth: ServiceUnderTest, admin: httpx.AsyncClient) -> None:
    await made(admin)
    again = await admin.post("/api/users", json=WARD | {"email": "wARD@hospital.EXAMPLE"})
    assert (again.status_code, again.json()["code"]) == (409, "email_taken")
    path = await path_of(auth, "viewer@demo.example")
    moved = await admin.patch(path, json={"email": "WARD@hospital.example"})
    assert (moved.status_code, moved.json()["code"]) == (409, "email_taken")
    moved = await admin.patch(path, json={"email": "Other@Hospital.example", "name": "Another"})
    assert (moved.status_code, moved.json()["email"]) == (200, "other@hospital.example")
    assert data((await auth.events("user.updated"))[-1])["changed"] == ["email", "name"]


async def test_a_change_names_its_version(auth: ServiceUnderTest, admin: httpx.AsyncClient) -> None:
    user = await made(admin)
    path = f"/api/users/{user['id']}"
    changed = await admin.patch(path, json={"name": "Night Manager"}, headers={"if-match": user["etag"]})
    assert (changed.status_code, changed.headers["etag"], changed.json()["name"]) == (200, '"2"', "Night Manager")
    for call in (
        admin.patch(path, json={"name": "Augusta"}, headers={"if-match": user["etag"]}),
        admin.delete(path, headers={"if-match": user["etag"]}),
    ):
        stale = await call
        assert (stale.status_code, stale.json()["code"]) == (412, "stale_version")
    assert (await admin.delete(path, headers={"if-match": '"2"'})).status_code == 204
    assert (await admin.get(path)).json()["is_active"] is False


async def test_what_changes_nothing_is_not_told(auth: ServiceUnderTest, admin: httpx.AsyncClient) -> None:
    user = await made(admin)
    body = {"name": "Ward Manager", "role": "nursing_leadership", "is_active": True, "email": "ward@hospital.example"}
    answer = await admin.patch(f"/api/users/{user['id']}", json=body)
    assert (answer.status_code, answer.json()["etag"]) == (200, '"1"')
    assert await auth.events("user.updated") == []


async def test_a_deactivated_user_is_out_and_comes_back(
    auth: ServiceUnderTest, admin: httpx.AsyncClient, viewer: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    path = await path_of(auth, "viewer@demo.example")
    for _ in range(2):
        assert (await admin.delete(path)).status_code == 204
    await auth.app.state.access.refresh()
    assert (await viewer.get("/api/auth/me")).json()["code"] == "revoked_token"
    assert (await login(client, "viewer@demo.example")).status_code == 401
    [told] = await auth.events("user.deactivated")
    assert data(told)["user"]["is_active"] is False
    assert len(data(told)["user"]["revocations"]) == 1
    [revoked] = await auth.events("sessions.revoked")
    assert data(revoked)["reason"] == "deactivated"

    back = await admin.patch(path, json={"is_active": True})
    assert (back.status_code, back.json()["is_active"]) == (200, True)
    assert data((await auth.events("user.updated"))[-1])["changed"] == ["is_active"]
    assert (await login(client, "viewer@demo.example")).status_code == 200
    await auth.app.state.access.refresh()
    assert (await viewer.get("/api/auth/me")).json()["code"] == "revoked_token"


async def test_a_new_role_ends_the_access_of_the_former(
    auth: ServiceUnderTest, client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    tokens = (await login(client)).json()
    path = await path_of(auth, "clinical@demo.example")
    assert (await admin.patch(path, json={"role": "viewer"})).status_code == 200
    await auth.app.state.access.refresh()
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    assert (await client.get("/api/auth/me", headers=headers)).json()["code"] == "revoked_token"
    [told] = await auth.events("user.updated")
    assert data(told)["user"]["role"] == "viewer"
    assert [item["session_id"] for item in data(told)["user"]["revocations"]] == [None]

    # At once, in the very second of the change: a token that was issued after it is good.
    refreshed = (await client.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]})).json()
    headers = {"authorization": f"Bearer {refreshed['access_token']}"}
    answer = await client.get("/api/auth/me", headers=headers)
    assert (answer.status_code, answer.json()["role"]) == (200, "viewer")


async def test_a_token_between_two_new_roles_of_one_second_ends_with_the_second(
    auth: ServiceUnderTest, client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    """It says that it was issued at the end of that second, so as not to be refused with those before the first."""
    path, current = await path_of(auth, "clinical@demo.example"), (await login(client)).json()
    for role in ("admin", "viewer", "nursing_leadership"):
        assert (await admin.patch(path, json={"role": role})).status_code == 200
        headers = {"authorization": f"Bearer {current['access_token']}"}
        await auth.app.state.access.refresh()
        assert (await client.get("/api/auth/me", headers=headers)).status_code == 401
        current = (await client.post("/api/auth/refresh", json={"refresh_token": current["refresh_token"]})).json()
        headers = {"authorization": f"Bearer {current['access_token']}"}
        assert (await client.get("/api/auth/me", headers=headers)).json()["role"] == role


@pytest.mark.parametrize("change", [{"role": "viewer"}, {"is_active": False}])
async def test_the_last_administrator_stays(
    auth: ServiceUnderTest, admin: httpx.AsyncClient, client: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    path = await path_of(auth, "admin@demo.example")
    # One who has never logged in may never do so.
    pending = await made(admin, role="admin")
    for call in (admin.patch(path, json=change), admin.delete(path)):
        answer = await call
        assert (answer.status_code, answer.json()["code"]) == (409, "last_administrator")
    assert (await admin.patch(path, json={"name": "Still Admin", "role": "admin"})).status_code == 200
    body = {"email": pending["email"], "password": pending["initial_password"], "new_password": CHOSEN}
    assert (await client.post("/api/auth/login", json=body)).status_code == 200
    assert (await admin.patch(path, json=change)).status_code == 200


async def test_a_write_sent_again_makes_one_account(auth: ServiceUnderTest, admin: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": str(uuid4())}
    first, again = [await admin.post("/api/users", json=WARD, headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.headers["etag"] == again.headers["etag"]
    assert first.json()["initial_password"]
    assert again.json() == first.json() | {"initial_password": None}
    [remembered] = await auth.rows("SELECT body FROM idempotency_keys")
    assert first.json()["initial_password"].encode() not in bytes(remembered["body"])
    other = await admin.post("/api/users", json=WARD | {"name": "Another"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    path = f"/api/users/{first.json()['id']}"
    headers = {"idempotency-key": str(uuid4())}
    statuses = [(await admin.delete(path, headers=headers | {"if-match": '"1"'})).status_code for _ in range(2)]
    assert statuses == [204, 204]


async def test_accounts_are_listed_in_pages(auth: ServiceUnderTest, admin: httpx.AsyncClient) -> None:
    for number in range(7):
        await made(admin, email=f"person{number}@hospital.example", name=f"Person {number}")
    seen: list[str] = []
    cursor = None
    while True:
        page = (await admin.get("/api/users", params={"limit": 5} | ({"cursor": cursor} if cursor else {}))).json()
        assert (page["total_count"], page["total_is_capped"], page["limit"]) == (12, False, 5)
        seen += [user["email"] for user in page["users"]]
        cursor = page["cursor"]
        assert page["has_more"] == (cursor is not None)
        if not cursor:
            break
    assert len(seen) == len(set(seen)) == 12
    everybody = (await admin.get("/api/users", params={"limit": 100})).json()["users"]
    assert [user["email"] for user in everybody] == seen
    assert "hashed" not in str(everybody)


async def test_accounts_are_filtered(auth: ServiceUnderTest, admin: httpx.AsyncClient) -> None:
    await admin.delete(await path_of(auth, "viewer@demo.example"))
    await made(admin, name="100% Ward_B")

    async def found(**params: Any) -> list[str]:
        answer = await admin.get("/api/users", params=params)
        assert answer.status_code == 200, answer.text
        assert answer.json()["total_count"] == len(answer.json()["users"])
        return sorted(user["email"].partition("@")[0] for user in answer.json()["users"])

    assert await found(role=["viewer", "admin"]) == ["admin", "viewer"]
    assert await found(active="false") == ["viewer"]
    assert await found(active="true", role="viewer") == []
    assert await found(q="NURSING lead") == ["nursing"]
    assert await found(q="hospital.EXAMPLE") == ["ward"]
    assert await found(q="%") == ["ward"]
    assert await found(q="ward_b") == ["ward"]
    assert await found(q="nobody") == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("?role=boss", "invalid"),
        ("?active=perhaps", "invalid"),
        ("?limit=0", "invalid"),
        ("?limit=101", "invalid"),
        ("?q=%00", "invalid"),
        ("?cursor=nonsense", "bad_cursor"),
        ("/not-an-id", "invalid"),
    ],
)
async def test_bad_questions_are_422(admin: httpx.AsyncClient, path: str, code: str) -> None:
    answer = await admin.get(f"/api/users{path}")
    assert (answer.status_code, answer.json()["code"]) == (422, code)


BAD_ACCOUNTS: list[dict[str, Any]] = [
    {},
    {"email": "ward"},
    {"email": "a da@b.example"},
    {"email": "ward@b.example\n"},
    {"email": "a\u200b@b.example"},
    {"email": "İ" * 200 + "@b.example"},
    {"email": 1},
    {"email": None},
    {"name": ""},
    {"name": "   "},
    {"name": "Ward\nManager"},
    {"name": "x" * 256},
    {"name": "A\0"},
    {"name": True},
    {"role": "boss"},
    {"role": 1},
    {"role": None},
]


@pytest.mark.parametrize("changes", BAD_ACCOUNTS)
async def test_bad_accounts_are_422(auth: ServiceUnderTest, admin: httpx.AsyncClient, changes: dict[str, Any]) -> None:
    bodies = [("POST", "/api/users", WARD | changes if changes else {})]
    bodies.append(("PATCH", await path_of(auth, "viewer@demo.example"), changes))
    for method, path, body in bodies:
        answer = await admin.request(method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), answer.text
    assert len(await auth.rows("SELECT * FROM users")) == 5


@pytest.mark.parametrize("body", [{"is_active": 1}, {"is_active": None}, {"reset_password": "yes"}, {"password": "x"}])
async def test_bad_changes_are_422(auth: ServiceUnderTest, admin: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await admin.patch(await path_of(auth, "viewer@demo.example"), json=body)).status_code == 422


@pytest.mark.parametrize("role", ["clinical", "nursing", "administration", "viewer"])
async def test_only_administrators_manage_accounts(auth: ServiceUnderTest, role: str) -> None:
    unknown = f"/api/users/{uuid4()}"
    async with logged_in(auth, f"{role}@demo.example") as someone, auth.client(None) as nobody:
        for method, path in [
            ("GET", "/api/users"),
            ("POST", "/api/users"),
            ("GET", unknown),
            ("PATCH", unknown),
            ("DELETE", unknown),
        ]:
            # Before anything is said of the request itself.
            body = {"bad": 1} if method in ("POST", "PATCH") else None
            assert (await someone.request(method, path, json=body)).status_code == 403
            assert (await nobody.request(method, path, json=body)).status_code == 401


async def test_unknown_accounts_are_404_before_their_version_counts(admin: httpx.AsyncClient) -> None:
    path = f"/api/users/{uuid4()}"
    headers = {"if-match": '"7"'}
    for call in (
        admin.get(path),
        admin.patch(path, json={"name": "A"}, headers=headers),
        admin.delete(path, headers=headers),
    ):
        answer = await call
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_the_own_account_has_a_version(admin: httpx.AsyncClient) -> None:
    answer = await admin.get("/api/auth/me")
    assert answer.headers["etag"] == answer.json()["etag"] == '"1"'
