"""Replaying dead letters: each message once more on its topic, for the consumer group that rejected it.

The bytes, key and headers are those that came, with two headers that name the dead letter and the group. The message
goes through the outbox: in the order in which the messages stood, and exactly where `replayed_at` says so. It is a new
message to Kafka; groups other than the one that rejected it have had its effect and pass it over. One that fails again
is a new dead letter.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, cast, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared import outbox
from shared.dead_letters import REPLAY_GROUP_HEADER, REPLAY_OF_HEADER
from shared.dead_letters_reading import DeadLetterFilters
from shared.events import topics
from shared.tables import dead_letters

MOST_AT_ONCE: Final = 500
"""Letters in one transaction."""

_MOST_BYTES_AT_ONCE: Final = 16 * 1024 * 1024
# What the two headers and the broker's framing may add to a message that only just fitted when it came.
_ADDED_BYTES: Final = 16 * 1024

_TABLE: Final = dead_letters.c
_PLACE: Final = (_TABLE.topic, _TABLE.partition, _TABLE.offset, _TABLE.consumer_group)
_LETTER: Final = (_TABLE.id, _TABLE.consumer_group, _TABLE.topic, _TABLE.partition, _TABLE.offset)
_SIZE: Final = (
    func.coalesce(func.octet_length(_TABLE.key), 0)
    + func.coalesce(func.octet_length(_TABLE.value), 0)
    + func.octet_length(cast(_TABLE.headers, Text))
)


@dataclass(frozen=True, slots=True)
class ReplayedLetter:
    """A dead letter whose message is on its way, and where the message stood when it was rejected."""

    id: UUID
    consumer_group: str
    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class Replay:
    """What a replay came to. Only `replayed` has had an effect."""

    replayed: list[ReplayedLetter] = field(default_factory=list)
    already_replayed: list[UUID] = field(default_factory=list)
    unknown: list[UUID] = field(default_factory=list)
    refused: dict[UUID, str] = field(default_factory=dict)
    """Why a message cannot be put on its topic again, in one sentence."""
    has_more: bool = False
    """Whether letters that match were left for the next call."""


async def replay_ids(session: AsyncSession, ids: Collection[UUID]) -> Replay:
    """Replay these dead letters; what was replayed before, also by somebody else just now, is left alone.

    Where they are too many for one transaction, `has_more` says that the rest is left.
    """
    rows = await _lock(session, None, _TABLE.id.in_(ids))
    outcome = Replay(unknown=sorted(set(ids) - {row.id for row in rows}))
    outcome.already_replayed = [row.id for row in rows if row.replayed_at is not None]
    left = [row for row in rows if row.replayed_at is None]
    outcome.refused = {row.id: reason for row in left if (reason := _refusal(row.topic, row.size)) is not None}
    await _replay(session, [row for row in left if row.id not in outcome.refused], outcome)
    return outcome


async def replay_matching(session: AsyncSession, filters: DeadLetterFilters, most: int = MOST_AT_ONCE) -> Replay:
    """Replay up to so many dead letters that match and have not been replayed, the first that stood in Kafka first.

    Those that cannot be put on their topic again are passed over; replayed by id they say why.
    """
    matching = [*filters.conditions(), _TABLE.replayed_at.is_(None), *_replayable()]
    outcome = Replay()
    await _replay(session, await _lock(session, most, *matching), outcome)
    # Not the rows that were found tell: some of them somebody else may have replayed while they were waited for.
    outcome.has_more = bool((await session.execute(select(exists().where(*matching)))).scalar())
    return outcome


@dataclass(frozen=True, slots=True)
class _Candidate(ReplayedLetter):
    replayed_at: datetime | None
    size: int


async def _lock(session: AsyncSession, most: int | None, *conditions: ColumnElement[bool]) -> list[_Candidate]:
    """Locked in the order of their places, so that two replays wait for each other instead of blocking each other."""
    query: Select[Any] = select(*_LETTER, _TABLE.replayed_at, _SIZE).where(*conditions)
    result = await session.execute(query.order_by(*_PLACE).limit(most).with_for_update())
    return [_Candidate(*row) for row in result]


def _replayable() -> list[ColumnElement[bool]]:
    smallest = min(topic.max_message_bytes for topic in topics.ALL)
    return [_TABLE.topic.in_([topic.name for topic in topics.ALL]), _SIZE.between(0, smallest - _ADDED_BYTES)]


def _refusal(topic: str, size: int) -> str | None:
    known = topics.BY_NAME.get(topic)
    if known is None:
        return f"There is no topic {topic} any more."
    if size > known.max_message_bytes - _ADDED_BYTES:
        return f"With {size:,} bytes it is larger than what its topic takes together with the headers of a replay."
    return None


async def _replay(session: AsyncSession, rows: Sequence[_Candidate], outcome: Replay) -> None:
    chosen: list[_Candidate] = []
    room = _MOST_BYTES_AT_ONCE
    for row in rows[:MOST_AT_ONCE]:
        if chosen and row.size > room:
            break
        chosen.append(row)
        room -= row.size
    outcome.has_more = len(chosen) < len(rows)
    if not chosen:
        return
    ids = [row.id for row in chosen]
    contents: Select[Any] = select(*_LETTER, _TABLE.key, _TABLE.value, _TABLE.headers).where(_TABLE.id.in_(ids))
    letters = await session.execute(contents.order_by(*_PLACE))
    await outbox.publish_raw(session, [_message(letter) for letter in letters])
    await session.execute(update(dead_letters).where(_TABLE.id.in_(ids)).values(replayed_at=func.clock_timestamp()))
    outcome.replayed = [
        ReplayedLetter(row.id, row.consumer_group, row.topic, row.partition, row.offset) for row in chosen
    ]


def _message(letter: Any) -> outbox.RawMessage:
    ours = {REPLAY_OF_HEADER, REPLAY_GROUP_HEADER}
    headers = [pair for pair in outbox.decode_headers(letter.headers) if pair[0] not in ours]
    headers += [(REPLAY_OF_HEADER, str(letter.id).encode()), (REPLAY_GROUP_HEADER, letter.consumer_group.encode())]
    return outbox.RawMessage(letter.topic, letter.key, letter.value, headers)
