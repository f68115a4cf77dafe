"""After a restore: accounts as Kafka tells them, no session goes on, keys that were replaced are replaced again."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.auth.after_restore import AuthRestoration
from services.auth.service_keys import KEY_SET
from shared.events import auth as events
from shared.events import envelope
from shared.events.envelope import Envelope, EventType
from shared.events.vocabulary import UserRole
from shared.outbox import Event, publish
from shared.restoring import Told, Unknown
from tests.auth.conftest import bearer, login
from tests.support.service import ServiceUnderTest


@pytest.fixture
def restoration(auth: ServiceUnderTest) -> AuthRestoration:
    return AuthRestoration(auth.app.state.tools.settings)


async def told(
    auth: ServiceUnderTest,
    kind: EventType,
    subject: UUID,
    sequence: int,
    *,
    changed: list[str] | None = None,
    **state: Any,
) -> Envelope:
    """What the service told of an account once, as it stands in Kafka."""
    user: dict[str, Any] = {
        "user_id": subject,
        "name": "Somebody",
        "role": UserRole.VIEWER,
        "is_active": True,
        "revocations": [],
    }
    data = events.UserChanged(user=events.UserState(**(user | state)), changed=changed or [])
    async with auth.session_maker() as session:
        await publish(session, Event(type=kind, subject=subject, key=subject, sequence=sequence, data=data))
        connection = await session.connection()
        found = await connection.exec_driver_sql("SELECT value FROM outbox ORDER BY id DESC LIMIT 1")
        event = envelope.decode(bytes(found.scalar_one()))
        await session.rollback()
    return event


async def mend(auth: ServiceUnderTest, restoration: AuthRestoration, *told: Told) -> int:
    async with auth.session_maker() as session, session.begin():
        return await restoration.mend(session, told)


async def account(auth: ServiceUnderTest, email: str) -> dict[str, Any]:
    [row] = await auth.rows(
        "SELECT u.*, last FROM users AS u JOIN event_sequences ON subject = id WHERE email = :e", e=email
    )
    return row


async def test_who_lost_rights_since_does_not_get_them_back(
    auth: ServiceUnderTest, client: httpx.AsyncClient, restoration: AuthRestoration
) -> None:
    token = (await login(client)).json()["access_token"]
    before = await account(auth, "clinical@demo.example")
    state: dict[str, Any] = {"name": "By Another Name", "role": UserRole.ADMINISTRATION, "is_active": False}
    event = await told(auth, events.USER_DEACTIVATED, before["id"], before["last"] + 5, **state)
    one = Told(before["id"], event.sequence, event)
    assert await mend(auth, restoration, one) == 1
    after = await account(auth, "clinical@demo.example")
    assert {name: after[name] for name in state} == state
    assert after["last"] == event.sequence
    [snapshot] = await auth.events("user.snapshot")
    assert (snapshot.sequence, snapshot.data_as(events.UserChanged).user.is_active) == (event.sequence, False)
    await auth.app.state.access.refresh()
    assert (await client.get("/api/auth/me", headers=bearer(token))).status_code == 401
    # The snapshot is what was told last, from now on.
    assert await mend(auth, restoration, Told(one.subject, one.sequence, snapshot)) == 0
    assert (await account(auth, "clinical@demo.example"))["version"] == after["version"]


async def test_tokens_of_sessions_that_the_backup_does_not_have_are_refused(
    auth: ServiceUnderTest, client: httpx.AsyncClient, restoration: AuthRestoration
) -> None:
    """Also where nothing of the account is another: which sessions ended since, nobody knows."""
    token = (await login(client)).json()["access_token"]
    before = await account(auth, "clinical@demo.example")
    state = {name: before[name] for name in ("name", "role", "is_active")}
    event = await told(auth, events.USER_UPDATED, before["id"], before["last"] + 1, **state)
    await mend(auth, restoration, Told(before["id"], event.sequence, event))
    assert (await account(auth, "clinical@demo.example"))["is_active"]
    await auth.app.state.access.refresh()
    assert (await client.get("/api/auth/me", headers=bearer(token))).status_code == 401


async def test_what_the_database_knows_better_is_told(auth: ServiceUnderTest, restoration: AuthRestoration) -> None:
    """Under the same number or a lower one Kafka has an account that is another by now."""
    viewer = await account(auth, "viewer@demo.example")
    event = await told(auth, events.USER_UPDATED, viewer["id"], viewer["last"], is_active=False)
    assert await mend(auth, restoration, Told(viewer["id"], viewer["last"], event)) == 1
    [snapshot] = await auth.events("user.snapshot")
    told_now = snapshot.data_as(events.UserChanged).user
    assert (snapshot.sequence, told_now.is_active, told_now.name) == (viewer["last"], True, viewer["name"])


async def test_an_account_that_is_gone_is_told_as_inactive_once(
    auth: ServiceUnderTest, restoration: AuthRestoration
) -> None:
    event = await told(auth, events.USER_CREATED, uuid4(), 1)
    assert await mend(auth, restoration, Told(event.subject, 3, event)) == 1
    [snapshot] = await auth.events("user.snapshot")
    user = snapshot.data_as(events.UserChanged).user
    assert (snapshot.subject, snapshot.sequence, user.is_active, user.name) == (event.subject, 3, False, "Somebody")
    assert await mend(auth, restoration, Told(event.subject, 3, snapshot)) == 0


async def test_numbers_of_what_has_no_account_are_raised_too(
    auth: ServiceUnderTest, restoration: AuthRestoration
) -> None:
    stranger = uuid4()
    assert await mend(auth, restoration, Told(stranger, 7)) == 0
    assert await mend(auth, restoration, Told(stranger, 6)) == 0
    assert await auth.rows("SELECT last FROM event_sequences WHERE subject = :s", s=stranger) == [{"last": 7}]


async def test_keys_that_were_others_are_replaced_once(auth: ServiceUnderTest, restoration: AuthRestoration) -> None:
    """The backup may have one that had to be replaced because it leaked."""
    [old] = await auth.rows("SELECT kid FROM signing_keys")
    await mend(auth, restoration, Told(KEY_SET, 4))
    [event] = [event for event in await auth.events("key.rotated") if event.sequence > 4]
    assert event.sequence == 5
    [key] = event.data_as(events.KeyRotated).keys
    assert key.kid != old["kid"]
    await mend(auth, restoration, Told(KEY_SET, 5))
    assert len(await auth.rows("SELECT kid FROM signing_keys WHERE verifies_until IS NULL")) == 1


async def test_every_session_ends_once(
    auth: ServiceUnderTest, client: httpx.AsyncClient, restoration: AuthRestoration
) -> None:
    first, second = (await login(client)).json(), (await login(client, "viewer@demo.example")).json()
    [said] = await restoration.finish(auth.session_maker)
    assert said.startswith("the sessions of 2 users are ended")
    assert len(await auth.events("sessions.revoked")) == 2
    await auth.app.state.access.refresh()
    for tokens in (first, second):
        assert (await client.get("/api/auth/me", headers=bearer(tokens["access_token"]))).status_code == 401
        answer = await client.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        assert answer.status_code == 401
    await restoration.finish(auth.session_maker)
    assert len(await auth.events("sessions.revoked")) == 2


async def test_only_what_kafka_does_not_carry_is_lost(auth: ServiceUnderTest, restoration: AuthRestoration) -> None:
    viewer = (await account(auth, "viewer@demo.example"))["id"]
    made = await told(auth, events.USER_CREATED, uuid4(), 1, name="Newcomer", changed=["name", "role", "is_active"])
    renamed = await told(auth, events.USER_UPDATED, viewer, 9, changed=["name"])
    moved = await told(auth, events.USER_UPDATED, viewer, 10, changed=["email", "name"])
    reset = await told(auth, events.USER_UPDATED, viewer, 11, changed=["password"])
    async with auth.session_maker() as session:
        unknown = [Unknown(event, event.sequence) for event in (made, renamed, moved, reset)]
        assert await restoration.lost(session, unknown) == [made, moved, reset]
    assert restoration.describe(made) == "Newcomer (viewer): name, role, is_active"
