"""A rejected event that is replayed: late, and yet it closes the gap that it left."""

from typing import Any
from uuid import uuid4

import pytest

from services.activity import service as activity
from shared import dead_letters_replay
from shared.dead_letters_reading import DeadLetterFilters
from shared.events import envelope
from shared.events.decoding import RejectedMessageError
from shared.events.topics import COMPASS_SIGNALS
from shared.inbox import Message
from shared.outbox import decode_headers
from tests.activity.events import event, messages
from tests.support.factories import message
from tests.support.service import ServiceUnderTest


async def gaps(service: ServiceUnderTest) -> list[tuple[int, int]]:
    return [(row["first"], row["last"]) for row in await service.rows("SELECT first, last FROM sequence_gaps")]


async def test_it_closes_its_gap_and_is_recorded_once(
    service: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = uuid4()
    sent = [event(number, subject=subject, sequence=number) for number in (1, 2, 3)]
    real = activity.read

    def refuse_the_second(received: Message) -> Any:
        if envelope.decode(received.value).sequence == 2:
            raise RejectedMessageError("future_version", "An old release said so.")
        return real(received)

    monkeypatch.setattr(activity, "read", refuse_the_second)
    await service.consume("activity.signals", *messages(*sent))
    assert await gaps(service) == [(2, 2)]
    [letter] = await service.dead_letters()
    assert letter["code"] == "future_version"

    monkeypatch.undo()
    async with service.session_maker() as session, session.begin():
        outcome = await dead_letters_replay.replay_matching(session, DeadLetterFilters(codes=["future_version"]))
    assert len(outcome.replayed) == 1
    rows = await service.rows("SELECT value, headers FROM outbox WHERE topic = 'compass.signals.v1'")
    for _ in range(2):  # a relay delivers at least once
        await service.consume(
            "activity.signals",
            *(message(COMPASS_SIGNALS, row["value"], headers=decode_headers(row["headers"])) for row in rows),
        )
    assert await gaps(service) == []
    recorded = await service.rows("SELECT sequence FROM audit_log WHERE subject = :id ORDER BY position", id=subject)
    assert [row["sequence"] for row in recorded] == [1, 3, 2]
    assert len(await service.rows("SELECT 1 FROM activity_events WHERE signal_id = :id", id=subject)) == 3
    assert len(await service.dead_letters()) == 1


async def test_one_that_another_group_rejected_is_passed_over(service: ServiceUnderTest) -> None:
    sent = event(1, sequence=1)
    headers = [("dead-letter-replay-group", b"workflow.signals")]
    await service.consume("activity.signals", message(COMPASS_SIGNALS, sent, headers=headers))
    assert await service.rows("SELECT 1 FROM audit_log") == []
    await service.consume("activity.signals", message(COMPASS_SIGNALS, sent))
    assert len(await service.rows("SELECT 1 FROM audit_log")) == 1
