"""After a restore: what Kafka has of a producer that its database does not know any more, and how both agree again.

A database that went back to its backup gives numbers to events that it has given before, and consumers would take the
new events for ones that they have seen. So, while the service is stopped, its command

1. reads its own topic from the backup on, and prints what people have to do anew;
2. takes in again, up to now, what the service itself consumes: the effects come under the numbers that they had, and
   whoever has their events knows them by these;
3. raises the numbers past the highest that Kafka has, and tells the copies of other services the present state, as
   snapshots, where it is another than was told.

Every step finds nothing left to do when it was done. A service's command is its `Restoration` and `main`.
"""

import argparse
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared import commands, inbox
from shared.db import SessionMaker
from shared.events import envelope
from shared.events.decoding import RejectedMessageError
from shared.events.envelope import Envelope, EventType
from shared.kafka import BatchProcessor, Subscription
from shared.settings import ServiceSettings, load
from shared.topic_reading import read_until_now

Settings = TypeVar("Settings", bound=ServiceSettings)

_CHUNK: Final = 500
# The clocks of whoever made the backup and of Kafka's brokers may differ by so much.
_CLOCKS: Final = timedelta(minutes=10)
_REFUSED: Final = 1

_RELAYS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'compass-' || current_schema() || '-relay'"
)
_WAITING = text("SELECT value FROM outbox WHERE topic = :topic AND headers IS NULL ORDER BY id")
_LAST = text("SELECT subject, last FROM event_sequences WHERE subject = ANY(:subjects)")
_RAISE = text(
    """
    INSERT INTO event_sequences AS s (subject, last)
    SELECT * FROM unnest(CAST(:subjects AS uuid[]), CAST(:lasts AS integer[]))
    ON CONFLICT (subject) DO UPDATE SET last = excluded.last WHERE s.last < excluded.last
    """
)


@dataclass(slots=True)
class Told:
    """What others were told of a subject: its highest number, and the last event or snapshot that has its state."""

    subject: UUID
    sequence: int = 0
    state: Envelope | None = None

    def take(self, event: Envelope, *, is_snapshot: bool, has_state: bool) -> bool:
        """Whether consumers take this one: an event with a number that they know is nothing new to them."""
        if event.sequence < self.sequence + (not is_snapshot):
            return False
        self.sequence = event.sequence
        if has_state:
            self.state = event
        return True


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event that the database does not have, and the number that it gets if it comes about again by itself.

    What people did in between does not come about again, so that the numbers move up.
    """

    event: Envelope
    again: int


@dataclass(slots=True)
class History:
    """What a topic has from some moment on. ``unknown`` are the events that the database does not have."""

    told: dict[UUID, Told] = field(default_factory=dict)
    unknown: list[Unknown] = field(default_factory=list)
    by_people: Counter[UUID] = field(default_factory=Counter)
    """How many of the unknown events of each subject people have brought about."""
    begins_late: set[UUID] = field(default_factory=set)
    """Subjects whose first unknown event does not follow the database's last: there are more before it."""
    read: int = 0


class Restoration(ABC, Generic[Settings]):
    """What is particular to one service."""

    events: Sequence[EventType]
    """What it publishes, all on one topic."""
    states: Collection[type[Struct]]
    """The contracts of `data` that tell the subject's state."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.topic, self.source = self.events[0].topic, self.events[0].source
        self._snapshots = {event.name for event in self.events if event.snapshot}
        self._states = {event.name for event in self.events if event.data in self.states}

    def is_snapshot(self, event: Envelope) -> bool:
        """Whether it repeats a state under the number of the subject's last event."""
        return event.type in self._snapshots

    def has_state(self, event: Envelope) -> bool:
        """Whether it tells the subject's state."""
        return event.type in self._states

    @property
    def consumed(self) -> Sequence[Subscription]:
        """What the service consumes and tells the effects of, in the order in which it is taken in again."""
        return ()

    async def numbers(self, session: AsyncSession, subjects: Collection[UUID]) -> Mapping[UUID, int]:
        """The last number that the database has given to each subject that it knows."""
        return {row.subject: row.last for row in await session.execute(_LAST, {"subjects": list(subjects)})}

    async def begin(self, session: AsyncSession, told: Mapping[UUID, Told]) -> None:
        """What has to be right before anything is taken in again."""

    async def lost(self, session: AsyncSession, unknown: Sequence[Unknown]) -> Sequence[Envelope]:
        """Those of the unknown events that somebody has to see to: what people did, and what has not come about again.

        Asked before the service's input is taken in again for what people did, after it for the rest.
        """
        numbers = await self.numbers(session, {one.event.subject for one in unknown})
        return [one.event for one in unknown if one.event.actorid or one.again > numbers.get(one.event.subject, 0)]

    def describe(self, event: Envelope) -> str:
        """What a person has to know of a lost event beside its type, time, subject and actor."""
        return event.summary or ""

    @abstractmethod
    async def mend(self, session: AsyncSession, told: Sequence[Told]) -> int:
        """Raise the numbers of some subjects to what was told, and tell their state where it is another.

        Answers how many were told anew.
        """

    async def finish(self, maker: SessionMaker) -> Sequence[str]:  # noqa: ARG002 - most have nothing to do
        """What else has to be done at the end; answers what was."""
        return ()


async def raise_numbers(session: AsyncSession, told: Collection[Told]) -> None:
    """Let no subject's next number in `event_sequences` be one that was told."""
    ordered = sorted(told, key=lambda one: one.subject)
    await session.execute(
        _RAISE, {"subjects": [one.subject for one in ordered], "lasts": [one.sequence for one in ordered]}
    )


async def restore(
    maker: SessionMaker, service: str, restoration: Restoration[Settings], since: datetime, *, anyway: bool = False
) -> int:
    """Do all of it; answers the exit status. Where what was read does not go back to the backup, nothing is changed.

    Raises:
        KafkaSilentError: when Kafka does not hand over what it has.
    """
    history = await read_told(maker, restoration, since)
    commands.tell(
        f"{restoration.topic.name}: {history.read:,} messages since the backup, about {len(history.told):,} subjects; "
        f"{len(history.unknown):,} events are not in the database"
    )
    if history.begins_late and not anyway:
        commands.say(
            f"{len(history.begins_late):,} subjects have events between the backup and what was read: the backup is "
            "older than --since, or Kafka does not have them any more; then go on with --anyway"
        )
        return _REFUSED
    async with maker() as session, session.begin():
        await restoration.begin(session, history.told)
    count = await _tell_lost(maker, restoration, [one for one in history.unknown if one.event.actorid])
    for subscription in restoration.consumed:
        taken = await take_in(maker, service, restoration.settings.kafka_bootstrap_servers, subscription)
        commands.tell(f"{subscription.topic.name}: {taken:,} messages taken in again")
    count += await _tell_lost(maker, restoration, [one for one in history.unknown if not one.event.actorid])
    await _add_waiting(maker, restoration, history)
    anew = await _mend(maker, restoration, history)
    for sentence in await restoration.finish(maker):
        commands.tell(sentence)
    commands.tell(f"{count:,} events are lost to the database; the state of {anew:,} subjects is told anew")
    return 0


async def read_told(maker: SessionMaker, restoration: Restoration[Settings], since: datetime) -> History:
    """What the service's own topic has from a moment on."""

    async def starts(consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        at = int((since - _CLOCKS).timestamp() * 1000)
        places = consumer.assignment()
        found = await consumer.offsets_for_times(dict.fromkeys(places, at))
        ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
        return {place: found[place].offset if found[place] else ends[place] for place in places}

    history = History()
    servers = restoration.settings.kafka_bootstrap_servers
    async for messages in read_until_now(servers, [restoration.topic.name], starts):
        history.read += len(messages)
        events = _events(restoration, [message.value for message in messages])
        async with maker() as session:
            numbers = await restoration.numbers(session, {event.subject for event in events})
        for event in events:
            _take(history, restoration, event, numbers.get(event.subject, 0))
    return history


def _take(history: History, restoration: Restoration[Settings], event: Envelope, known: int) -> None:
    told = history.told.setdefault(event.subject, Told(event.subject))
    before, is_snapshot = max(told.sequence, known), restoration.is_snapshot(event)
    if not told.take(event, is_snapshot=is_snapshot, has_state=restoration.has_state(event)):
        return
    if not is_snapshot and event.sequence > known:
        history.unknown.append(Unknown(event, event.sequence - history.by_people[event.subject]))
        history.by_people[event.subject] += event.actorid is not None
        if event.sequence > before + 1:
            history.begins_late.add(event.subject)


def _events(restoration: Restoration[Settings], values: Sequence[bytes | None]) -> list[Envelope]:
    events = []
    for value in values:
        try:
            event = envelope.decode(value)
        except RejectedMessageError as error:
            commands.say(f"a message on {restoration.topic.name} is no event and is left out: {error.detail}")
            continue
        if event.source == restoration.source:
            events.append(event)
    return events


async def take_in(maker: SessionMaker, service: str, servers: str, subscription: Subscription) -> int:
    """Process what a group of the service has not, up to now; answers how many messages it were."""
    process, taken = BatchProcessor(service, subscription, maker), 0

    async def starts(consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        places = consumer.assignment()
        begins: dict[TopicPartition, int] = await consumer.beginning_offsets(places)
        async with maker() as session:
            stored = await inbox.ends(session, subscription.group)
        found = {place: stored.get((place.topic, place.partition), 0) for place in places}
        if gone := sum(begins[place] - offset for place, offset in found.items() if 0 < offset < begins[place]):
            commands.say(
                f"{subscription.topic.name}: Kafka has {gone:,} messages not any more that came after the backup"
            )
        return found

    async for messages in read_until_now(servers, [subscription.topic.name], starts):
        await process(list(messages))
        taken += len(messages)
    return taken


async def _tell_lost(maker: SessionMaker, restoration: Restoration[Settings], unknown: Sequence[Unknown]) -> int:
    async with maker() as session:
        lost = await restoration.lost(session, unknown)
    for event in sorted(lost, key=lambda one: one.time):
        who = f"user {event.actorid}" if event.actorid else "the system"
        moment = event.time.isoformat(timespec="seconds")
        commands.tell(f"lost: {moment} {event.type} {event.subject} by {who}. {restoration.describe(event)}".rstrip())
    return len(lost)


async def _add_waiting(maker: SessionMaker, restoration: Restoration[Settings], history: History) -> None:
    """What waits for the relay is told after what Kafka has."""
    async with maker() as session:
        values = [bytes(row.value) for row in await session.execute(_WAITING, {"topic": restoration.topic.name})]
    for event in _events(restoration, values):
        told = history.told.setdefault(event.subject, Told(event.subject))
        told.take(
            event,
            is_snapshot=restoration.is_snapshot(event),
            has_state=restoration.has_state(event),
        )


async def _mend(maker: SessionMaker, restoration: Restoration[Settings], history: History) -> int:
    subjects = [history.told[subject] for subject in sorted(history.told)]
    anew = 0
    for start in range(0, len(subjects), _CHUNK):
        chunk = subjects[start : start + _CHUNK]

        async def work(chunk: Sequence[Told] = chunk) -> int:
            async with maker() as session, session.begin():
                return await restoration.mend(session, chunk)

        anew += await commands.persist(work)
    return anew


def main(
    service: str,
    settings_class: type[Settings],
    restoration_class: type[Restoration[Settings]],
    arguments: Sequence[str] | None = None,
) -> int:
    """The command of a service; answers the exit status."""
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{service}.after_restore",
        description="Make the restored database and Kafka agree again, and print what was lost.",
        epilog="The service has to be stopped.",
    )
    parser.add_argument(
        "--since", required=True, type=commands.moment, metavar="MOMENT", help="when the backup was begun, or earlier"
    )
    parser.add_argument(
        "--anyway", action="store_true", help="though Kafka does not have all that was told since the backup"
    )
    chosen = parser.parse_args(arguments)
    settings = load(settings_class)

    async def work() -> int:
        async with commands.database(settings, service) as maker:
            async with maker() as session:
                if (await session.execute(_RELAYS)).scalar_one():
                    commands.say(f"{service} runs: stop all its instances first, since they give numbers to events")
                    return _REFUSED
            return await restore(maker, service, restoration_class(settings), chosen.since, anyway=chosen.anyway)

    return commands.run(work())
