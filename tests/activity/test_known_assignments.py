"""What is known of an assignment is the last that was told of it, whatever a clock said and whatever came late."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from services.activity.consumers import SUBSCRIPTIONS
from services.activity.rebuild import rebuild
from shared.db import SessionMaker
from shared.events.topics import COMPASS_WORKFLOW
from shared.kafka import BatchProcessor
from tests.activity.events import example, messages

ASSIGNMENT, FIRST, SECOND = uuid4(), uuid4(), uuid4()
_TIMES = {"ahead": "2026-07-01T11:00:00Z", "true": "2026-07-01T09:00:00Z", "behind": "2026-07-01T07:00:00Z"}


def told(
    signal: UUID,
    sequence: int,
    clock: str,
    status: str,
    superseded: UUID | None = None,
    kind: str = "signal.assigned",
) -> dict[str, Any]:
    """An event that tells of the assignment, by a clock that is right or not."""
    sent = example("compass.signal.assigned.v1")
    state = sent["data"]["assignment"] | {"assignment_id": str(ASSIGNMENT), "signal_id": str(signal), "status": status}
    data = sent["data"] | {"assignment": state, "superseded_signal_id": superseded and str(superseded)}
    place = {"id": str(uuid4()), "subject": str(signal), "sequence": sequence, "time": _TIMES[clock]}
    return sent | place | {"data": data, "type": f"compass.{kind}.v1"}


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("sent", "known"),
    [
        ([told(FIRST, 1, "true", "assigned"), told(FIRST, 2, "true", "resolved")], (FIRST, "resolved")),
        # A clock that was ahead is put right; one that is right falls back.
        ([told(FIRST, 1, "ahead", "assigned"), told(FIRST, 2, "true", "resolved")], (FIRST, "resolved")),
        ([told(FIRST, 1, "true", "assigned"), told(FIRST, 2, "behind", "resolved")], (FIRST, "resolved")),
        # One that comes late.
        ([told(FIRST, 2, "true", "resolved"), told(FIRST, 1, "ahead", "assigned")], (FIRST, "resolved")),
        # After a restore the producer knows less again, and says so under the last number.
        (
            [told(FIRST, 2, "true", "resolved"), told(FIRST, 2, "behind", "assigned", kind="assignment.snapshot")],
            (FIRST, "assigned"),
        ),
        # Carried over to a newer detection by a clock that was put right meanwhile, and then worked on.
        (
            [
                told(FIRST, 1, "ahead", "assigned"),
                told(SECOND, 1, "true", "assigned", superseded=FIRST),
                told(SECOND, 2, "true", "in_progress"),
            ],
            (SECOND, "in_progress"),
        ),
        # The older detection's event comes after the carrying over that it preceded.
        ([told(SECOND, 1, "ahead", "assigned", superseded=FIRST), told(FIRST, 1, "true", "new")], (SECOND, "assigned")),
    ],
)
async def test_the_last_that_was_told_is_known(
    committing: SessionMaker, sent: list[dict[str, Any]], known: tuple[UUID, str], at_once: bool
) -> None:
    process = BatchProcessor("activity", next(s for s in SUBSCRIPTIONS if s.topic is COMPASS_WORKFLOW), committing)
    for batch in [sent] if at_once else [[one] for one in sent]:
        await process(messages(*batch, topic=COMPASS_WORKFLOW))
    assert await _known(committing) == known
    await rebuild(committing)
    assert await _known(committing) == known


async def _known(committing: SessionMaker) -> tuple[Any, ...]:
    async with committing() as session:
        return tuple((await session.execute(text("SELECT signal_id, status FROM known_assignments"))).one())
