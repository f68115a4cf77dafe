"""After a restore: numbers past those that were told, and what signals' assignments are now, or that there are none."""

from uuid import UUID, uuid4

import msgspec
import pytest

from services.workflow.after_restore import WorkflowRestoration
from services.workflow.settings import WorkflowSettings
from shared.events.envelope import Envelope
from shared.events.vocabulary import AssignmentStatus
from shared.events.workflow import AssignmentChanged
from shared.restoring import Told
from tests.workflow.world import CLINICAL, World


@pytest.fixture
def restoration(world: World) -> WorkflowRestoration:
    assert isinstance(world.service.settings, WorkflowSettings)
    return WorkflowRestoration(world.service.settings)


async def mend(world: World, restoration: WorkflowRestoration, *told: Told) -> int:
    async with world.service.session_maker() as session, session.begin():
        return await restoration.mend(session, told)


async def last_told(world: World, signal: UUID) -> Envelope:
    return [event for event in await world.service.events() if event.subject == signal][-1]


def lost(event: Envelope, **changes: object) -> Envelope:
    """What a later event told, that the database does not know any more."""
    changed = event.data_as(AssignmentChanged)
    assignment = msgspec.structs.replace(changed.assignment, **changes)
    data = msgspec.Raw(msgspec.json.encode(msgspec.structs.replace(changed, assignment=assignment)))
    return msgspec.structs.replace(event, id=uuid4(), sequence=event.sequence + 3, data=data)


async def test_what_is_another_than_was_told_is_told_anew_once(world: World, restoration: WorkflowRestoration) -> None:
    signal = await world.new_signal()
    await world.assign(signal)
    event = await last_told(world, signal)
    moved = lost(event, status=AssignmentStatus.IN_PROGRESS)
    assert await mend(world, restoration, Told(signal, moved.sequence, moved)) == 1
    [snapshot] = await world.service.events("assignment.snapshot")
    assert (snapshot.subject, snapshot.sequence) == (signal, moved.sequence)
    assert snapshot.data_as(AssignmentChanged).assignment == event.data_as(AssignmentChanged).assignment
    assert await mend(world, restoration, Told(signal, moved.sequence, snapshot)) == 0
    await world.call(CLINICAL, "POST", f"/signals/{signal}/comments", {"text": "Next."})
    assert (await last_told(world, signal)).sequence == moved.sequence + 1


async def test_what_is_as_it_was_told_is_not_told_anew(world: World, restoration: WorkflowRestoration) -> None:
    signal = await world.new_signal()
    await world.assign(signal)
    event = await last_told(world, signal)
    assert await mend(world, restoration, Told(signal, 9, event)) == 0
    assert await world.service.rows("SELECT last FROM event_sequences WHERE subject = :s", s=signal) == [{"last": 9}]


async def test_of_an_assignment_that_is_gone_nobody_has_it(world: World, restoration: WorkflowRestoration) -> None:
    signal, elsewhere = await world.new_signal(), await world.new_signal()
    await world.assign(signal)
    event = await last_told(world, signal)
    gone = lost(event, assignment_id=uuid4(), signal_id=elsewhere)
    assert await mend(world, restoration, Told(elsewhere, 4, gone)) == 1
    [snapshot] = await world.service.events("assignment.snapshot")
    told = snapshot.data_as(AssignmentChanged).assignment
    assert (snapshot.sequence, told.status, told.assignee) == (4, AssignmentStatus.NEW, None)
    assert await mend(world, restoration, Told(elsewhere, 4, snapshot)) == 0
    # One that has gone on to another detection is told of there.
    left = lost(event, signal_id=elsewhere)
    assert await mend(world, restoration, Told(elsewhere, 4, left)) == 0


async def test_subjects_without_an_assignment_have_numbers_only(world: World, restoration: WorkflowRestoration) -> None:
    commented, rule = await world.new_signal(), uuid4()
    assert await mend(world, restoration, Told(commented, 2), Told(rule, 6)) == 0
    rows = await world.service.rows("SELECT subject, last FROM event_sequences")
    assert {row["subject"]: row["last"] for row in rows} == {commented: 2, rule: 6}


def test_users_are_heard_of_before_rules_assign_to_them(restoration: WorkflowRestoration) -> None:
    assert [one.group for one in restoration.consumed] == ["workflow.users", "workflow.signals"]
