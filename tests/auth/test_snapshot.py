"""The snapshot command: every account and the keys, under the numbers of their last events."""

import httpx
import pytest

from services.auth import snapshot
from shared import snapshots
from shared.events import auth as events
from tests.auth.conftest import bearer, login
from tests.support.service import ServiceUnderTest


@pytest.mark.parametrize("batch_size", [2, 100])
async def test_every_account_and_the_keys_are_told_again(
    auth: ServiceUnderTest, client: httpx.AsyncClient, batch_size: int
) -> None:
    tokens = (await login(client)).json()
    await client.post("/api/auth/logout", headers=bearer(tokens["access_token"]))
    last = {row["subject"]: row["last"] for row in await auth.rows("SELECT subject, last FROM event_sequences")}
    settings = auth.app.state.tools.settings
    published = await snapshots.publish(
        auth.session_maker, snapshot.parts(settings), lambda _: None, batch_size=batch_size
    )
    assert published == 6
    told = await auth.events("user.snapshot")
    assert {event.subject: event.sequence for event in [*told, *await auth.events("key.snapshot")]} == last
    states = {event.subject: event.data_as(events.UserChanged) for event in told}
    accounts = await auth.rows("SELECT id, name, role, is_active FROM users")
    assert {key: (state.user.name, state.user.role) for key, state in states.items()} == {
        account["id"]: (account["name"], account["role"]) for account in accounts
    }
    # Those still in force are told again, for who has missed them.
    assert sorted(len(state.user.revocations) for state in states.values()) == [0, 0, 0, 0, 1]
    [keys] = [event.data_as(events.KeyRotated) for event in await auth.events("key.snapshot")]
    published_keys = (await client.get("/.well-known/jwks.json")).json()["keys"]
    assert [key.kid for key in keys.keys] == [key["kid"] for key in published_keys]
    assert await auth.rows("SELECT subject, last FROM event_sequences WHERE last > 3") == []
