"""The snapshot command of this service, and the snapshots of others that it hears."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from services.workflow import snapshot
from shared import snapshots
from shared.events.workflow import AssignmentChanged, RuleChanged
from tests.workflow.test_rules import make, rule
from tests.workflow.world import (
    ADMIN,
    CLINICAL,
    NURSING,
    Somebody,
    World,
    detection,
    problem,
    signal_event,
    user_event,
)


async def publish(world: World, batch_size: int = 100) -> int:
    return await snapshots.publish(world.service.session_maker, snapshot.PARTS, lambda _: None, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
async def test_every_assignment_and_rule_is_told_again(world: World, batch_size: int) -> None:
    signals = {status: await world.new_signal() for status in ("new", "assigned", "in_progress", "closed")}
    await world.new_signal()
    for status, signal in signals.items():
        await world.bring_to(signal, status)
    await world.call(CLINICAL, "POST", f"/signals/{signals['new']}/snooze", {"until_worse": True})
    kept, gone = await make(world, "Kept"), await make(world, "Gone")
    await world.call(ADMIN, "DELETE", f"/ownership-rules/{gone['id']}")
    last = {
        row["subject"]: row["last"] for row in await world.service.rows("SELECT subject, last FROM event_sequences")
    }
    before = len(await world.service.events())

    assert await publish(world, batch_size) == 6
    told = await world.service.events("assignment.snapshot")
    states = {event.subject: event.data_as(AssignmentChanged) for event in told}
    assert {signal: states[signal].assignment.status for signal in signals.values()} == {
        signal: status for status, signal in signals.items()
    }
    assert len(told) == len(states) == 4
    assert states[signals["new"]].assignment.snoozed_until_worse
    assert states[signals["assigned"]].assignment.assignee.name == "Nursing Lead"  # type: ignore[union-attr]
    rules = await world.service.events("rule.snapshot")
    assert {event.subject: event.data_as(RuleChanged).deleted for event in rules} == {
        UUID(kept["id"]): False,
        UUID(gone["id"]): True,
    }
    for event in [*told, *rules]:
        assert (event.sequence, event.feedtype) == (last[event.subject], None)
    assert len(await world.service.events()) == before + 6
    after = {
        row["subject"]: row["last"] for row in await world.service.rows("SELECT subject, last FROM event_sequences")
    }
    assert after == last, "a snapshot takes no number of its own"


async def test_nothing_to_tell(world: World) -> None:
    assert await publish(world) == 0


async def known(world: World, signal: UUID) -> Any:
    rows = await world.service.rows("SELECT severity, sequence FROM known_signals WHERE signal_id = :id", id=signal)
    return [(row["severity"], row["sequence"]) for row in rows]


async def test_a_signals_snapshot_fills_what_was_never_heard_of(world: World) -> None:
    entity = uuid4()
    signal = detection(entity, 2)
    await world.hear_signals(signal_event(entity, 2, "snapshot", sequence=4, simplified_severity=70))
    await world.hear_signals(signal_event(entity, 1, "snapshot", sequence=2, is_current=False))
    assert await known(world, signal) == [(70, 4)]
    assert (await world.assign(signal)).status_code == 200
    older = await world.assign(detection(entity, 1))
    assert problem(older) == (409, "superseded")


@pytest.mark.parametrize(("sequence", "expected"), [(2, (60, 3)), (3, (70, 3)), (4, (70, 4))])
async def test_a_signals_snapshot_changes_nothing_that_is_newer(
    world: World, sequence: int, expected: tuple[int, int]
) -> None:
    entity = uuid4()
    await world.hear_signals(signal_event(entity, 1, simplified_severity=60, sequence=3))
    await world.hear_signals(signal_event(entity, 1, "snapshot", sequence=sequence, simplified_severity=70))
    assert await known(world, detection(entity, 1)) == [expected]


async def test_the_event_that_a_snapshot_repeats_changes_nothing_any_more(world: World) -> None:
    entity = uuid4()
    await make(world, **rule()["conditions"])
    await world.hear_signals(signal_event(entity, 1, "snapshot", sequence=1, simplified_severity=70))
    await world.hear_signals(signal_event(entity, 1, sequence=1, simplified_severity=60))
    assert await known(world, detection(entity, 1)) == [(70, 1)]
    assert (await world.show(detection(entity, 1)))["status"] == "new"


async def test_a_users_snapshot_fills_and_never_goes_back(world: World) -> None:
    newcomer = Somebody("Newcomer", NURSING.role)
    signal = await world.new_signal()
    assert problem(await world.assign(signal, to=newcomer)) == (422, "assignee_unknown")
    await world.hear_users(user_event(newcomer, "snapshot", sequence=5))
    assert (await world.assign(signal, to=newcomer)).status_code == 200
    await world.hear_users(user_event(newcomer, "snapshot", sequence=4, is_active=False))
    assert (await world.assign(signal, to=newcomer, if_match="*")).status_code == 200
    # Under the same number it differs only where the accounts went back in time.
    await world.hear_users(user_event(newcomer, "snapshot", sequence=5, is_active=False))
    assert problem(await world.assign(signal, to=newcomer, if_match="*")) == (422, "assignee_inactive")
