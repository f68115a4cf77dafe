"""What Kafka has of a producer that its database does not know any more, with a real broker."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from msgspec import Meta, Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from deploy.local.kafka import EmbeddedKafka
from deploy.topics import apply
from shared import outbox, restoring
from shared.db import SessionMaker, create_engine
from shared.dead_letters import Rejection
from shared.events import envelope
from shared.events.envelope import Envelope, EventType
from shared.events.topics import Topic
from shared.inbox import Message
from shared.kafka import Subscription
from shared.restoring import Restoration, Told, raise_numbers, restore
from shared.settings import ServiceSettings

Query = Callable[..., Awaitable[list[Any]]]

SOURCE: Final = "/services/test"
SUBJECT: Final = UUID(int=7)
LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)


class State(Struct):
    """A contract."""

    value: Annotated[int, Meta(description="Anything.")]


def topic() -> Topic:
    return Topic(f"restoring-{uuid4().hex[:8]}", "subject", "test", (), None, "Of a test.", partitions=2)


def kind(name: str, on: Topic, *, snapshot: bool = False) -> EventType:
    return EventType(f"compass.{name}.v1", on, SOURCE, "anything", State, "ever", snapshot=snapshot)


class Things(Restoration[ServiceSettings]):
    """A service that has nothing but numbers, and a state that is always 0."""

    states = (State,)

    def __init__(self, settings: ServiceSettings, on: Topic, consumed: Sequence[Subscription] = ()) -> None:
        self.changed, self.snapshot = kind("thing.changed", on), kind("thing.snapshot", on, snapshot=True)
        self.events = (self.changed, self.snapshot)
        self._consumed = consumed
        super().__init__(settings)

    @property
    def consumed(self) -> Sequence[Subscription]:
        return self._consumed

    async def mend(self, session: AsyncSession, told: Sequence[Told]) -> int:
        await raise_numbers(session, told)
        wrong = [one for one in told if one.state is not None and one.state.data_as(State).value != 0]
        for one in wrong:
            await outbox.publish(
                session,
                outbox.Event(
                    type=self.snapshot, subject=one.subject, key=one.subject, sequence=one.sequence, data=State(0)
                ),
            )
        return len(wrong)


@pytest.fixture
async def things(kafka: EmbeddedKafka, settings: ServiceSettings) -> Things:
    on = topic()
    await apply(kafka.bootstrap_servers, [on])
    return Things(settings.model_copy(update={"kafka_bootstrap_servers": kafka.bootstrap_servers}), on)


def event(sequence: int, value: int = 0, *, subject: UUID = SUBJECT, **more: Any) -> Envelope:
    return Envelope(
        specversion="1.0",
        id=uuid4(),
        source=more.pop("source", SOURCE),
        type=more.pop("type", "compass.thing.changed.v1"),
        subject=subject,
        time=datetime.now(UTC),
        datacontenttype="application/json",
        dataschema="urn:test",
        sequence=sequence,
        data=msgspec.Raw(msgspec.json.encode(State(value))),
        **more,
    )


async def send(things: Things, *values: Envelope | bytes) -> int:
    """Answers the time at which the broker took the last one, in ms."""
    async with AIOKafkaProducer(bootstrap_servers=things.settings.kafka_bootstrap_servers) as producer:
        for value in values:
            raw = value if isinstance(value, bytes) else envelope.encode(value)
            sent = await producer.send_and_wait(things.topic.name, raw, b"key")
    return int(sent.timestamp)


async def knows(maker: SessionMaker, sequence: int, subject: UUID = SUBJECT) -> None:
    async with maker() as session, session.begin():
        await raise_numbers(session, [Told(subject, sequence)])


def test_consumers_take_each_number_once_and_the_snapshot_that_repeats_it() -> None:
    told = Told(SUBJECT)
    first, again, snapshot = event(3, 1), event(3, 2), event(3, 3)
    assert told.take(first, is_snapshot=False, has_state=True)
    assert not told.take(again, is_snapshot=False, has_state=True)
    assert not told.take(event(2), is_snapshot=True, has_state=True)
    assert told.state is first
    assert told.take(snapshot, is_snapshot=True, has_state=True)
    assert told.take(event(4), is_snapshot=False, has_state=False)
    assert (told.sequence, told.state) == (4, snapshot)


async def test_numbers_and_states_agree_again_and_nothing_is_left_to_do(
    things: Things, session_maker: SessionMaker, query: Query, capsys: pytest.CaptureFixture[str]
) -> None:
    other, actor = uuid4(), uuid4()
    await knows(session_maker, 2)
    await send(
        things,
        *(event(number) for number in (1, 2, 3)),
        event(4, 5, actorid=actor, summary="Somebody did it."),
        event(4, 5),  # the relay's second time, or a number given again
        event(9, source="/services/another"),
        b"no event",
        event(1, subject=other),
    )
    assert await restore(session_maker, "test", things, LONG_AGO) == 0
    said = capsys.readouterr()
    assert "8 messages since the backup, about 2 subjects; 3 events are not in the database" in said.out
    assert f"compass.thing.changed.v1 {SUBJECT} by user {actor}. Somebody did it." in said.out
    assert f"compass.thing.changed.v1 {other} by the system." in said.out
    assert "3 events are lost to the database; the state of 1 subjects is told anew" in said.out
    assert "is no event and is left out" in said.err
    assert {tuple(row) for row in await query("SELECT subject, last FROM event_sequences")} == {
        (SUBJECT, 4),
        (other, 1),
    }
    [row] = await query("SELECT value FROM outbox")
    snapshot = envelope.decode(bytes(row.value))
    assert (snapshot.type, snapshot.sequence) == ("compass.thing.snapshot.v1", 4)
    # Whether the snapshot still waits, or has been relayed.
    for _ in range(2):
        assert await restore(session_maker, "test", things, LONG_AGO) == 0
        assert "0 events are lost to the database; the state of 0 subjects is told anew" in capsys.readouterr().out
        assert len(await query("SELECT 1 FROM outbox")) <= 1
        await send(things, bytes(row.value))
        async with session_maker() as session, session.begin():
            await session.execute(text("DELETE FROM outbox"))


async def test_only_what_came_since_is_read(
    things: Things, session_maker: SessionMaker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "_CLOCKS", timedelta())
    subject, before = uuid4(), await send(things, event(1), event(2))
    last = await send(things, event(1, subject=subject))
    while last == before:
        last = await send(things, event(1, subject=subject))
    since = datetime.fromtimestamp(last / 1000, UTC)
    with monkeypatch.context() as clocks:
        # Whoever made the backup may have had a clock that was ahead of the broker's.
        clocks.setattr(restoring, "_CLOCKS", timedelta(minutes=10))
        assert await restore(session_maker, "test", things, since + timedelta(minutes=9), anyway=True) == 0
        assert ": 3 messages since the backup" in capsys.readouterr().out
    assert await restore(session_maker, "test", things, since, anyway=True) == 0
    assert ": 1 messages since the backup" in capsys.readouterr().out
    assert await restore(session_maker, "test", things, datetime.now(UTC) + timedelta(days=1)) == 0
    assert ": 0 messages since the backup" in capsys.readouterr().out


async def test_a_moment_after_the_backup_is_noticed_and_nothing_is_changed(
    things: Things, session_maker: SessionMaker, query: Query, capsys: pytest.CaptureFixture[str]
) -> None:
    await knows(session_maker, 2)
    await send(things, event(4), event(5))
    assert await restore(session_maker, "test", things, LONG_AGO) == 1
    assert "1 subjects have events between the backup and what was read" in capsys.readouterr().err
    assert [tuple(row) for row in await query("SELECT last FROM event_sequences")] == [(2,)]
    assert await restore(session_maker, "test", things, LONG_AGO, anyway=True) == 0
    assert [tuple(row) for row in await query("SELECT last FROM event_sequences")] == [(5,)]


async def test_what_the_service_consumes_is_taken_in_first_under_the_old_numbers(
    kafka: EmbeddedKafka,
    things: Things,
    session_maker: SessionMaker,
    query: Query,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The effect of a message has the number that it had; so only what people did is lost."""
    incoming = topic()
    await apply(kafka.bootstrap_servers, [incoming])
    taken: list[bytes | None] = []

    async def handle(session: AsyncSession, messages: Sequence[Message]) -> Sequence[Rejection]:
        for message in messages:
            taken.append(message.value)
            await outbox.publish(
                session, outbox.Event(type=things.changed, subject=SUBJECT, key=SUBJECT, data=State(0))
            )
        return []

    restoring_ = Things(things.settings, things.topic, [Subscription(incoming, "test.incoming", handle)])
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        for value in (b"first", b"second"):
            await producer.send_and_wait(incoming.name, value, b"key")
    await send(things, event(1), event(2, actorid=uuid4()), event(3))
    # Only what somebody did is lost: the third is the second one again.
    for number, lost in ((2, 1), (0, 0)):
        assert await restore(session_maker, "test", restoring_, LONG_AGO) == 0
        said = capsys.readouterr().out
        assert f"{incoming.name}: {number} messages taken in again" in said
        assert f"{lost} events are lost to the database" in said
        assert taken == [b"first", b"second"]
        assert [tuple(row) for row in await query("SELECT last FROM event_sequences")] == [(3,)]
    told = [envelope.decode(bytes(row.value)) for row in await query("SELECT value FROM outbox ORDER BY id")]
    assert [one.sequence for one in told] == [1, 2]


@pytest.mark.parametrize(("more", "anyway"), [([], False), (["--anyway"], True)])
async def test_the_command_hands_on_what_it_was_told(
    settings: ServiceSettings, more: list[str], anyway: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPASS_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("COMPASS_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    asked: list[tuple[Any, ...]] = []

    async def note(_: SessionMaker, service: str, __: Things, since: datetime, *, anyway: bool) -> int:
        asked.append((service, since, anyway))
        return 0

    monkeypatch.setattr(restoring, "restore", note)
    arguments = ["--since", "2026-11-23T02:00:00+01:00", *more]

    class OfATest(Things):
        def __init__(self, settings: ServiceSettings) -> None:
            super().__init__(settings, topic())

    assert await asyncio.to_thread(restoring.main, "shared_test", ServiceSettings, OfATest, arguments) == 0
    assert asked == [("shared_test", datetime(2026, 11, 23, 1, tzinfo=UTC), anyway)]


async def test_a_service_that_runs_is_left_alone(
    settings: ServiceSettings, session_maker: SessionMaker, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("COMPASS_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("COMPASS_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    relay = create_engine(settings, "shared_test-relay")
    async with relay.connect():
        status = await asyncio.to_thread(
            restoring.main, "shared_test", ServiceSettings, Things, ["--since", "2026-11-23T02:00:00Z"]
        )
    await relay.dispose()
    assert status == 1
    assert "shared_test runs: stop all its instances first" in capsys.readouterr().err
