"""Keys, revocations and deactivated users reach a service through its own tables."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from faststream.kafka import TestKafkaBroker
from joserfc.jwk import ECKey
from sqlalchemy.ext.asyncio import AsyncSession

from shared.access import Access, AccessState, access_subscription
from shared.auth import Claims, decode_token
from shared.db import SessionMaker
from shared.errors import UnauthenticatedError
from shared.events import auth as events
from shared.events import envelope
from shared.events.envelope import Envelope, EventType
from shared.events.topics import COMPASS_AUTH
from shared.events.vocabulary import UserRole
from shared.inbox import Message
from shared.kafka import BatchProcessor, create_broker
from shared.settings import ServiceSettings
from tests.support.eventually import eventually
from tests.support.factories import message
from tests.support.service import SIGNING_KEY, token

Query = Callable[..., Awaitable[list[Any]]]
Consume = Callable[..., Awaitable[None]]

ACCEPTANCE = timedelta(seconds=305)
KEY_SET = uuid4()


def event(kind: EventType, subject: UUID, sequence: int, data: Any, name: str | None = None) -> Message:
    return message(
        COMPASS_AUTH,
        envelope.encode(
            Envelope(
                specversion="1.0",
                id=uuid4(),
                source=kind.source,
                type=name or kind.name,
                subject=subject,
                time=datetime.now(UTC),
                datacontenttype="application/json",
                dataschema=kind.dataschema,
                sequence=sequence,
                data=msgspec.Raw(msgspec.json.encode(data)),
            )
        ),
        key=str(subject).encode(),
    )


def public_jwk(key: ECKey, *, private: bool = False) -> dict[str, str]:
    return {name: str(value) for name, value in key.as_dict(private=private).items()}


def keys(*known: ECKey, sequence: int = 1, not_after: datetime | None = None) -> Message:
    told = [events.VerificationKey(kid=str(key.kid), public_jwk=public_jwk(key), not_after=not_after) for key in known]
    return event(events.KEY_ROTATED, KEY_SET, sequence, events.KeyRotated(keys=told))


def state(user: UUID, *, is_active: bool = True, revocations: Sequence[events.Revocation] = ()) -> events.UserState:
    return events.UserState(
        user_id=user, name="A Viewer", role=UserRole.VIEWER, is_active=is_active, revocations=list(revocations)
    )


def changed(user: UUID, sequence: int, kind: EventType = events.USER_UPDATED, **more: Any) -> Message:
    return event(kind, user, sequence, events.UserChanged(user=state(user, **more), changed=[]))


def revocation(session_id: UUID | None, moment: datetime | None = None) -> events.Revocation:
    moment = moment or datetime.now(UTC)
    return events.Revocation(session_id=session_id, issued_before=moment, until=moment + ACCEPTANCE)


@pytest.fixture
def consume(session_maker: SessionMaker) -> Consume:
    """Have the subscription process messages as one batch."""

    async def run(*messages: Message) -> None:
        await BatchProcessor("signals", access_subscription("signals"), session_maker)(list(messages))

    return run


@pytest.fixture
async def access(settings: ServiceSettings, session_maker: SessionMaker, consume: Consume) -> Access:
    """What a service knows after the first key."""
    await consume(keys(SIGNING_KEY))
    access = Access(settings, session_maker)
    await access.refresh()
    return access


def refusal(access: Access, raw: str) -> str:
    with pytest.raises(UnauthenticatedError) as raised:
        access.verify(raw)
    return raised.value.code


async def test_keys_come_from_the_topic_and_survive_a_restart(
    access: Access, settings: ServiceSettings, session_maker: SessionMaker
) -> None:
    assert access.verify(token("viewer")).role is UserRole.VIEWER
    restarted = Access(settings, session_maker)
    before = restarted.ready
    await restarted.refresh()
    assert (before, restarted.ready) == (False, True)
    assert restarted.verify(token("viewer")).role is UserRole.VIEWER


async def test_a_key_that_is_no_longer_listed_verifies_nothing(access: Access, consume: Consume) -> None:
    other = ECKey.generate_key("P-256", {"kid": "other"}, private=True)
    await consume(keys(SIGNING_KEY, other, sequence=2))
    await access.refresh()
    assert access.verify(token("viewer"))
    await consume(keys(other, sequence=3))
    await access.refresh()
    assert refusal(access, token("viewer")) == "invalid_token"


async def test_a_token_that_was_good_is_refused_when_its_time_has_come(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = token("viewer")
    moment = datetime.now(UTC).timestamp()
    assert access.verify(raw) == access.verify(raw)
    for later, expected in ((300, None), (304, None), (306, "expired_token")):
        monkeypatch.setattr("shared.access.time", lambda later=later: moment + later)
        # The library that checks the claims reads the clock by itself.
        monkeypatch.setattr("time.time", lambda later=later: moment + later)
        assert (refusal(access, raw) if expected else access.verify(raw) and None) == expected


async def test_a_signature_is_verified_once_and_only_good_tokens_are_remembered(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []

    def count(raw: str, *more: Any) -> Claims:
        decoded.append(raw)
        return decode_token(raw, *more)

    monkeypatch.setattr("shared.access.decode_token", count)
    monkeypatch.setattr("shared.access._TOKENS_REMEMBERED", 3)
    good, forged = token("viewer"), token("viewer")[:-8] + "AAAAAAAA"
    assert access.verify(good) == access.verify(good)
    assert [refusal(access, forged) for _ in range(2)] == ["invalid_token"] * 2
    assert decoded == [good, forged, forged]
    # More of them than are remembered: the first is verified again, and none is taken for another.
    for number in range(3):
        assert access.verify(token("viewer", user=UUID(int=number))).id == UUID(int=number)
    assert access.verify(good).role is UserRole.VIEWER
    assert decoded.count(good) == 2


async def test_an_older_set_of_keys_that_comes_again_changes_nothing(access: Access, consume: Consume) -> None:
    other = ECKey.generate_key("P-256", {"kid": "other"}, private=True)
    await consume(keys(other, SIGNING_KEY, sequence=5))
    await consume(keys(other, sequence=4))
    await access.refresh()
    assert access.verify(token("viewer"))


async def test_a_key_ends_at_its_time(access: Access, consume: Consume) -> None:
    other = ECKey.generate_key("P-256", {"kid": "other"}, private=True)
    await consume(keys(SIGNING_KEY, sequence=2, not_after=datetime.now(UTC) - timedelta(seconds=1)))
    await consume(keys(SIGNING_KEY, other, sequence=3, not_after=datetime.now(UTC) - timedelta(seconds=1)))
    await access.refresh()
    assert not access.ready


async def test_a_revoked_session_is_refused_and_the_users_others_are_not(access: Access, consume: Consume) -> None:
    user, ended, other = uuid4(), uuid4(), uuid4()
    data = events.SessionsRevoked(
        user=state(user, revocations=[revocation(ended)]), session_ids=[ended], reason="logout"
    )
    await consume(event(events.SESSIONS_REVOKED, user, 3, data))
    await access.refresh()
    assert refusal(access, token("viewer", user=user, sid=str(ended))) == "revoked_token"
    assert access.verify(token("viewer", user=user, sid=str(other))).id == user
    assert access.verify(token("viewer"))


async def test_all_tokens_issued_before_a_moment_are_refused(access: Access, consume: Consume) -> None:
    user, moment = uuid4(), datetime.now(UTC)
    await consume(changed(user, 2, revocations=[revocation(None, moment)]))
    await access.refresh()
    issued = int(moment.timestamp())
    assert refusal(access, token("viewer", user=user, iat=issued)) == "revoked_token"
    assert access.verify(token("viewer", user=user, iat=issued + 1)).id == user


async def test_a_deactivated_user_is_refused_until_active_again(access: Access, consume: Consume) -> None:
    user = uuid4()
    await consume(changed(user, 1, events.USER_CREATED), changed(user, 2, events.USER_DEACTIVATED, is_active=False))
    await access.refresh()
    assert refusal(access, token("viewer", user=user)) == "revoked_token"
    await consume(changed(user, 3))
    await access.refresh()
    assert access.verify(token("viewer", user=user)).id == user


async def test_older_and_repeated_events_change_nothing(access: Access, consume: Consume) -> None:
    user, ended = uuid4(), uuid4()
    await consume(changed(user, 5, is_active=False, revocations=[revocation(ended)]))
    await consume(changed(user, 4))
    await consume(changed(user, 5, is_active=False, revocations=[revocation(ended)]))
    await access.refresh()
    assert refusal(access, token("viewer", user=user, sid=str(ended))) == "revoked_token"


async def test_a_snapshot_repeats_the_state_of_the_last_sequence(access: Access, consume: Consume) -> None:
    user = uuid4()
    await consume(changed(user, 7, events.USER_SNAPSHOT, is_active=False))
    await access.refresh()
    assert refusal(access, token("viewer", user=user)) == "revoked_token"


async def test_of_the_event_and_the_snapshot_of_one_number_the_later_counts(access: Access, consume: Consume) -> None:
    """Where they differ: after a restore, an account that was made since the backup is told as inactive."""
    apart, together, ended = uuid4(), uuid4(), uuid4()
    await consume(changed(apart, 3))
    await consume(changed(apart, 3, events.USER_SNAPSHOT, is_active=False, revocations=[revocation(ended)]))
    await consume(changed(together, 3), changed(together, 3, events.USER_SNAPSHOT, is_active=False))
    await access.refresh()
    for user in (apart, together):
        assert refusal(access, token("viewer", user=user)) == "revoked_token"
    assert refusal(access, token("viewer", sid=str(ended))) == "revoked_token"


async def test_of_several_states_in_a_batch_the_last_counts(access: Access, consume: Consume) -> None:
    user = uuid4()
    await consume(changed(user, 2, is_active=False), changed(user, 4), changed(user, 3, is_active=False))
    await access.refresh()
    assert access.verify(token("viewer", user=user)).id == user


async def test_revocations_that_are_over_are_deleted(consume: Consume, query: Query) -> None:
    past = datetime.now(UTC) - 2 * ACCEPTANCE
    await consume(changed(uuid4(), 1, revocations=[revocation(uuid4(), past)]))
    assert len(await query("SELECT * FROM access_revocations")) == 1
    await consume(changed(uuid4(), 1, revocations=[revocation(uuid4())]))
    assert len(await query("SELECT * FROM access_revocations WHERE until <= now()")) == 0
    assert len(await query("SELECT * FROM access_revocations")) == 1


async def test_what_cannot_be_used_is_dead_lettered_and_the_rest_stored(
    access: Access, consume: Consume, query: Query
) -> None:
    user, secret = uuid4(), ECKey.generate_key("P-256", {"kid": "secret"}, private=True)
    private = events.VerificationKey(kid="secret", public_jwk=public_jwk(secret, private=True), not_after=None)
    curve = ECKey.generate_key("P-384", {"kid": "curve"}, private=False)
    await consume(
        message(COMPASS_AUTH, b"not json"),
        event(events.KEY_ROTATED, KEY_SET, 9, events.KeyRotated(keys=[private])),
        keys(curve, sequence=10),
        event(events.USER_CREATED, user, 1, {"user": 1}),
        event(events.USER_CREATED, user, 2, {}, name="compass.user.created.v2"),
        changed(user, 3, is_active=False),
    )
    codes = [row.code for row in await query('SELECT code FROM dead_letters ORDER BY "offset"')]
    assert codes == ["invalid_json", "invalid_key", "invalid_key", "invalid_field", "future_version"]
    await access.refresh()
    assert refusal(access, token("viewer", user=user)) == "revoked_token"


async def test_other_events_of_the_topic_are_left_alone(consume: Consume, query: Query) -> None:
    data = events.LoginFailed(known_user=True, reason="password", address=None)
    await consume(event(events.LOGIN_FAILED, uuid4(), 8, data))
    assert await query("SELECT * FROM access_users") == []
    assert await query("SELECT * FROM dead_letters") == []


async def test_the_last_state_goes_on_while_the_database_is_away(settings: ServiceSettings) -> None:
    state = AccessState(keys={"test-key": public_jwk(SIGNING_KEY)})
    looks = 0

    async def load(_: AsyncSession) -> AccessState:
        nonlocal looks
        looks += 1
        if looks > 1:
            raise ConnectionRefusedError
        return state

    quick = settings.model_copy(update={"access_refresh_seconds": 0.01})
    access = Access(quick, _no_database, load)  # type: ignore[arg-type]
    running = asyncio.create_task(access.run())

    async def seen() -> int:
        return looks

    await eventually(seen, lambda number: number > 3)
    assert not running.done()
    assert access.verify(token("viewer"))
    running.cancel()


class _no_database:  # noqa: N801 - stands in for a session maker
    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


async def test_it_refreshes_by_itself(settings: ServiceSettings, session_maker: SessionMaker, consume: Consume) -> None:
    access = Access(settings.model_copy(update={"access_refresh_seconds": 0.02}), session_maker)
    running = asyncio.create_task(access.run())
    await consume(keys(SIGNING_KEY))

    async def ready() -> bool:
        return access.ready

    await eventually(ready)
    running.cancel()


async def test_the_subscription_is_wired_to_its_topic(
    settings: ServiceSettings, session_maker: SessionMaker, query: Query
) -> None:
    subscription = access_subscription("signals")
    assert subscription.group == "signals.access"
    broker = create_broker(settings, subscription, BatchProcessor("signals", subscription, session_maker))
    async with TestKafkaBroker(broker) as tested:
        await tested.publish(keys(SIGNING_KEY).value, COMPASS_AUTH.name)
    rows = await query("SELECT kid FROM verification_keys")
    assert [row.kid for row in rows] == ["test-key"]
