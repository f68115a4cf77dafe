"""Many events out of order and doubled, from three producers, through two instances: in the end the log is whole."""

import asyncio
import os
import random
from collections import defaultdict
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import text

from services.activity import repository_audit, repository_groups
from services.activity import repository_verification as chain
from services.activity.consumers import SUBSCRIPTIONS
from services.activity.verify import problems
from shared.db import SessionMaker
from shared.events.topics import COMPASS_AUTH, COMPASS_SIGNALS, COMPASS_WORKFLOW, Topic
from shared.kafka import BatchProcessor
from tests.activity.events import event, messages

EVENTS: Final = int(os.environ.get("COMPASS_TEST_EVENTS", "6000"))
"""The long form has 100,000."""

_PER_SUBJECT: Final = 20
_BATCH: Final = 500
_PRODUCERS: Final = ((COMPASS_SIGNALS, "signals"), (COMPASS_WORKFLOW, "workflow"), (COMPASS_AUTH, "auth"))


def _disorder(seed: random.Random, source: str, subjects: list[UUID]) -> list[dict[str, Any]]:
    """Every event of these subjects once or twice, each up to a few thousand places from where it belongs."""
    sent = [
        event(number, subject=subject, source=f"/services/{source}", sequence=number, summary=str(number))
        for number in range(1, _PER_SUBJECT + 1)
        for subject in subjects
    ]
    sent += seed.sample(sent, len(sent) // 2)
    places = {id(one): seed.random() for one in sent}
    return [one for _, one in sorted(enumerate(sent), key=lambda pair: pair[0] + 3000 * places[id(pair[1])])]


async def test_events_out_of_order_and_doubled_end_in_a_whole_log(committing: SessionMaker) -> None:
    seed = random.Random(7)  # noqa: S311 - a test has no secrets
    count = EVENTS // _PER_SUBJECT // len(_PRODUCERS)
    # The producers share their subjects: each counts for itself.
    subjects = [uuid4() for _ in range(count)]
    total = count * _PER_SUBJECT * len(_PRODUCERS)

    async def deliver(topic: Topic, source: str) -> None:
        group = next(found for found in SUBSCRIPTIONS if found.topic is topic)
        process = BatchProcessor("activity", group, committing)
        sent = _disorder(seed, source, subjects)
        for start in range(0, len(sent), _BATCH):
            await process(messages(*sent[start : start + _BATCH], topic=topic))

    await asyncio.gather(*(deliver(topic, source) for topic, source in _PRODUCERS))

    async with committing() as session, session.begin():
        head = await repository_audit.lock_head(session)
        assert (head.audit_position, head.feed_position) == (total, total)
        assert (await session.execute(text("SELECT count(*) FROM sequence_gaps"))).scalar_one() == 0
        by_subject: dict[tuple[str, UUID], list[int]] = defaultdict(list)
        feed = "SELECT source, subject, sequence FROM activity_events ORDER BY created_at, id"
        for row in await session.execute(text(feed)):
            by_subject[row.source, row.subject].append(row.sequence)
        assert len(by_subject) == count * len(_PRODUCERS)
        assert all(numbers == list(range(1, _PER_SUBJECT + 1)) for numbers in by_subject.values())
        positions = "SELECT min(position), max(position), count(DISTINCT position) FROM activity_events"
        assert tuple((await session.execute(text(positions))).one()) == (1, total, total)
        assert await repository_groups.recount(session, UUID(int=0), UUID(int=2**128 - 1)) == 0
        assert [problem async for problem in problems(session, *await chain.end(session))] == []
