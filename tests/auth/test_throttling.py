"""Failed logins make the next attempt wait, and nobody is locked out of the own account."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from services.auth import service_throttling, service_upkeep
from services.auth.service_throttling import ADDRESS, KNOWN_PLACE, STRANGE_PLACE, UNDER_ATTACK, Rule
from tests.auth.conftest import login
from tests.support.service import ServiceUnderTest

HERE, ELSEWHERE = {"x-client-address": "10.0.0.1"}, {"x-client-address": "10.0.0.2"}


async def fail(client: httpx.AsyncClient, times: int, email: str = "clinical@demo.example") -> list[int]:
    return [(await login(client, email, "a wrong password", headers=HERE)).status_code for _ in range(times)]


async def let_pass(auth: ServiceUnderTest, by: timedelta) -> None:
    async with auth.session_maker() as session, session.begin():
        await session.execute(
            text(
                "UPDATE login_throttles SET blocked_until = blocked_until - CAST(:by AS interval), "
                "last_failed_at = last_failed_at - CAST(:by AS interval)"
            ),
            {"by": by},
        )


async def test_the_sixth_failure_makes_the_next_attempt_wait(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    assert await fail(client, 8) == [401] * 6 + [429] * 2
    right = await login(client, headers=HERE)
    assert (right.status_code, right.json()["code"]) == (429, "login_throttled")
    assert right.headers["retry-after"] == "1"
    assert len(await auth.events("login.failed")) == 6


async def test_the_owner_gets_in_from_elsewhere(client: httpx.AsyncClient) -> None:
    await fail(client, 10)
    assert (await login(client, headers=ELSEWHERE)).status_code == 200
    assert (await login(client, "viewer@demo.example", headers=HERE)).status_code == 200


def place(number: int) -> dict[str, str]:
    return {"x-client-address": f"198.51.{number // 250}.{number % 250}"}


async def test_under_attack_a_strange_address_has_one_attempt(
    client: httpx.AsyncClient, auth: ServiceUnderTest
) -> None:
    for number in range(service_throttling.ATTACKED_FROM + 1):
        await login(client, password="a wrong password", headers=place(number))
    first, second = [await login(client, password="a wrong password", headers=place(900)) for _ in range(2)]
    assert (first.status_code, second.status_code) == (401, 429)
    assert 55 < int(second.headers["retry-after"]) <= 60
    # Another account is not under attack.
    assert (await login(client, "viewer@demo.example", "a wrong password", headers=place(900))).status_code == 401


async def test_the_owner_waits_a_minute_at_most_where_they_usually_are(
    auth: ServiceUnderTest, client: httpx.AsyncClient
) -> None:
    for headers, longest in ((HERE, 60), (ELSEWHERE, 900)):
        if headers is HERE:
            assert (await login(client, headers=headers)).status_code == 200
        for _ in range(17):
            await let_pass(auth, timedelta(minutes=16))
            await login(client, password="a wrong password", headers=headers)
        answer = await login(client, headers=headers)
        assert longest - 5 < int(answer.headers["retry-after"]) <= longest
        await let_pass(auth, timedelta(hours=2))


async def test_who_had_to_be_logged_out_is_not_known_there(auth: ServiceUnderTest) -> None:
    [user] = await auth.rows("SELECT id FROM users WHERE email = 'clinical@demo.example'")
    async with auth.session_maker() as session, session.begin():

        async def known(address: str | None) -> bool:
            found = await service_throttling.place(session, "clinical@demo.example", address, user["id"])
            return found.is_known

        for address, end in [("192.0.2.1", None), ("192.0.2.2", "logout"), ("192.0.2.3", "revoked"), (None, None)]:
            await session.execute(
                text(
                    "INSERT INTO sessions (user_id, expires_at, address, ended_at, end_reason) VALUES "
                    "(:user, now(), :address, CASE WHEN CAST(:end AS text) IS NOT NULL THEN now() END, :end)"
                ),
                {"user": user["id"], "address": address, "end": end},
            )
        assert [await known(f"192.0.2.{last}") for last in range(5)] == [False, True, True, False, False]
        await session.execute(text("UPDATE sessions SET address = '2001:db8:1:2:3:4:5:6'"))
        assert [await known(address) for address in ("2001:db8:1:2::9", "2001:db8:1:3::9", None)] == [
            True,
            False,
            False,
        ]


async def test_one_households_addresses_wait_together(client: httpx.AsyncClient) -> None:
    """Whoever has one IPv6 address has 2^64 of them."""
    statuses = [
        (await login(client, password="a wrong password", headers={"x-client-address": f"2001:db8::{n}"})).status_code
        for n in range(8)
    ]
    assert statuses == [401] * 6 + [429] * 2


@pytest.mark.parametrize(
    ("given", "seen"),
    [("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1"), ("nonsense", None), ("192.0.2.1", "192.0.2.1")],
)
async def test_addresses_are_brought_into_one_form(
    auth: ServiceUnderTest, client: httpx.AsyncClient, given: str, seen: str | None
) -> None:
    assert (await login(client, headers={"x-client-address": given})).status_code == 200
    assert [row["address"] for row in await auth.rows("SELECT address FROM sessions")] == [seen]


async def test_pauses_grow(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    await fail(client, 6)
    waits = []
    for _ in range(4):
        await let_pass(auth, timedelta(minutes=15))
        assert await fail(client, 1) == [401]
        waits.append(int((await login(client, headers=HERE)).headers["retry-after"]))
    assert waits == [2, 4, 8, 16]


async def test_a_success_begins_anew(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    await fail(client, 5)
    assert (await login(client, headers=HERE)).status_code == 200
    assert await fail(client, 6) == [401] * 6


async def test_failures_are_forgotten_after_an_hour(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    await fail(client, 6)
    await let_pass(auth, service_throttling.FORGOTTEN_AFTER + timedelta(minutes=1))
    assert await fail(client, 6) == [401] * 6


async def test_an_unknown_account_waits_like_a_known_one(client: httpx.AsyncClient) -> None:
    assert await fail(client, 8, "nobody@demo.example") == [401] * 6 + [429] * 2


async def test_letter_case_is_no_way_around(client: httpx.AsyncClient) -> None:
    await fail(client, 6)
    assert await fail(client, 1, "CLINICAL@demo.example") == [429]


async def test_an_address_that_fails_with_many_accounts_waits(
    auth: ServiceUnderTest, client: httpx.AsyncClient
) -> None:
    for number in range(25):
        await fail(client, 4, f"nobody{number}@b.example")
    assert await fail(client, 1, "another@b.example") == [401]
    assert await fail(client, 1, "yet-another@b.example") == [429]
    assert (await login(client, headers=ELSEWHERE)).status_code == 200


async def test_what_is_forgotten_is_deleted(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    await fail(client, 1)
    await let_pass(auth, timedelta(hours=2))
    await service_upkeep.once(auth.session_maker, auth.app.state.tools)
    assert await auth.rows("SELECT * FROM login_throttles") == []


RULES = (KNOWN_PLACE, STRANGE_PLACE, UNDER_ATTACK, ADDRESS)


@pytest.mark.parametrize("rule", RULES)
@given(failures=st.integers(min_value=1, max_value=10**9))
def test_a_pause_never_shrinks_nor_exceeds_the_longest(rule: Rule, failures: int) -> None:
    pause = rule.pause(failures)
    assert timedelta() <= pause <= rule.longest
    assert rule.pause(failures + 1) >= pause
    assert (pause == timedelta()) == (failures <= rule.free)


def test_the_longest_pause_ends() -> None:
    assert max(rule.longest for rule in RULES) <= timedelta(minutes=15)
    assert datetime.now(UTC) + RULES[0].pause(10**9) < datetime.max.replace(tzinfo=UTC)
