"""New signals assigned by ownership rules."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.workflow.test_rules import PATH, make, order, put, rule
from tests.workflow.world import (
    ADMIN,
    CLINICAL,
    NURSING,
    OFFICE,
    World,
    detection,
    kinds,
    problem,
    signal_event,
    user_event,
)


async def test_a_new_signal_is_assigned_by_the_first_rule_that_matches(world: World) -> None:
    await make(world, "Nothing", CLINICAL, metric_id=["other"])
    made = await make(world, "Emergency", minimum_severity=80)
    await make(world, "Too late", OFFICE)
    signal = await world.new_signal()
    shown = await world.show(signal, NURSING)
    assert (shown["status"], shown["assignee"]["name"], shown["assigner"]) == ("assigned", "Nursing Lead", None)
    assert (shown["rule_id"], shown["rule_version"]) == (made["id"], 1)
    assert (shown["etag"], shown["role_type"]) == ('"1"', "nursing_leadership")
    assert shown["allowed_next_statuses"] == ["in_progress", "new"]
    assert shown["due_at"] > shown["assigned_at"]
    (line,) = await world.history(signal)
    assert (line["kind"], line["by"], line["assignee"]["name"]) == ("assigned", None, "Nursing Lead")
    assert (line["rule_id"], line["rule_version"]) == (made["id"], 1)
    (event,) = await world.events_of(signal)
    assert (event["type"], event["feed"], event["actor"]) == ("signal.assigned", "assignment", None)
    assert event["data"]["reason"] == "rule"
    assert event["data"]["rule"] == {"rule_id": made["id"], "version": 1, "name": "Emergency"}
    expected = "The rule ‘Emergency’ assigned ‘breachRate at Northfield General’ to Nursing Lead."
    assert event["summary"] == expected


@pytest.mark.parametrize(
    ("conditions", "matches"),
    [
        ({}, True),
        ({"domain": ["Safety", "Effectiveness"]}, True),
        ({"domain": ["Safety"]}, False),
        ({"facility": ["Elsewhere", "Northfield General"]}, True),
        ({"facility": ["NG1"]}, True),
        ({"facility": ["northfield general"]}, False),
        ({"system_name": ["Northfield"]}, True),
        ({"system_name": ["Southfield"]}, False),
        ({"service_line": ["Emergency"]}, True),
        ({"service_line": ["Surgery"]}, False),
        ({"metric_id": ["breachRate"]}, True),
        ({"metric_id": ["losIndex"]}, False),
        ({"signal_type": ["chronic_underperformer"]}, True),
        ({"signal_type": ["baseline"]}, False),
        ({"minimum_severity": 88}, True),
        ({"minimum_severity": 89}, False),
        ({"minimum_severity": 0}, True),
        ({"domain": ["Effectiveness"], "metric_id": ["losIndex"]}, False),
    ],
)
async def test_all_that_a_rule_asks_for_must_hold(world: World, conditions: dict[str, Any], matches: bool) -> None:
    await make(world, **conditions)
    signal = await world.new_signal()
    assert (await world.show(signal))["status"] == ("assigned" if matches else "new")


async def test_a_signal_without_a_value_is_none_of_those_asked_for(world: World) -> None:
    await make(world, system_name=["None", "null"])
    await make(world, facility=["None"])
    signal = await world.new_signal(system_name=None, facility_id=None)
    assert (await world.show(signal))["status"] == "new"


async def test_events_that_come_again_assign_once(world: World) -> None:
    await make(world)
    entity = uuid4()
    signal = detection(entity, 1)
    events = [signal_event(entity, 1), signal_event(entity, 1, "corrected", sequence=2), signal_event(entity, 1)]
    await world.hear_signals(*events)
    await world.hear_signals(*events)
    assert kinds(await world.events_of(signal)) == ["signal.assigned"]
    assert len(await world.history(signal)) == 1


@pytest.mark.parametrize("together", [True, False])
async def test_a_rules_assignment_goes_along_to_newer_detections(world: World, together: bool) -> None:
    await make(world)
    entity = uuid4()
    events = [signal_event(entity, 1), signal_event(entity, 2, "redetected"), signal_event(entity, 3, "redetected")]
    if together:
        await world.hear_signals(*events)
    else:
        for event in events:
            await world.hear_signals(event)
    assert [line["kind"] for line in await world.history(detection(entity, 3))] == [
        "assigned", "carried_over", "carried_over"
    ]  # fmt: skip
    reasons = [
        event["data"]["reason"] for event in await world.events_of(*(detection(entity, number) for number in (1, 2, 3)))
    ]
    assert reasons == ["rule", "carried_over", "carried_over"]
    shown = await world.show(detection(entity, 3))
    assert (shown["status"], shown["etag"]) == ("assigned", '"3"')


async def test_a_signal_that_is_back_after_a_closed_one_is_assigned(world: World) -> None:
    entity = uuid4()
    await world.hear_signals(signal_event(entity, 1))
    await world.bring_to(detection(entity, 1), "closed")
    await make(world, to=OFFICE)
    await world.hear_signals(signal_event(entity, 2, "redetected"))
    second = detection(entity, 2)
    assert kinds(await world.events_of(second)) == ["signal.reopened", "signal.assigned"]
    shown = await world.show(second)
    assert (shown["status"], shown["assignee"]["name"]) == ("assigned", "Administration Lead")
    assert shown["reopens"]["signal_id"] == str(detection(entity, 1))


async def test_an_untouched_signal_that_has_become_worse_falls_to_a_rule(world: World) -> None:
    await make(world, minimum_severity=60)
    entity = uuid4()
    await world.hear_signals(signal_event(entity, 1, simplified_severity=40))
    assert (await world.show(detection(entity, 1)))["status"] == "new"
    await world.hear_signals(signal_event(entity, 2, "redetected", simplified_severity=75))
    assert (await world.show(detection(entity, 2)))["status"] == "assigned"


async def test_what_somebody_took_back_stays_unassigned(world: World) -> None:
    await make(world)
    entity = uuid4()
    await world.hear_signals(signal_event(entity, 1))
    answer = await world.call(CLINICAL, "DELETE", f"/signals/{detection(entity, 1)}/assignment")
    assert (answer.json()["status"], answer.json()["rule_id"], answer.json()["due_at"]) == ("new", None, None)
    await world.hear_signals(signal_event(entity, 1, sequence=2), signal_event(entity, 2, "redetected"))
    shown = await world.show(detection(entity, 2))
    assert (shown["status"], shown["assignee"]) == ("new", None)


async def test_a_rule_whose_assignee_cannot_be_assigned_is_passed_over(world: World) -> None:
    await make(world, "First", NURSING)
    await make(world, "Second", OFFICE)
    await world.hear_users(user_event(NURSING, "deactivated", sequence=2, is_active=False))
    signal = await world.new_signal()
    assert (await world.show(signal))["assignee"]["name"] == "Administration Lead"
    await world.hear_users(user_event(OFFICE, "updated", sequence=2, role="viewer"))
    other = await world.new_signal()
    assert (await world.show(other))["status"] == "new"


async def test_disabled_and_deleted_rules_assign_nothing(world: World) -> None:
    off, gone = await make(world, "Off"), await make(world, "Gone")
    await put(world, off, rule("Off", enabled=False))
    await world.call(ADMIN, "DELETE", f"{PATH}/{gone['id']}")
    assert (await world.show(await world.new_signal()))["status"] == "new"


async def test_neither_history_nor_snapshots_are_new_signals(world: World) -> None:
    await make(world)
    for kind, is_current in (("recorded", False), ("snapshot", True)):
        entity = uuid4()
        await world.hear_signals(signal_event(entity, 1, kind, is_current=is_current))
        assert (await world.show(detection(entity, 1)))["status"] == "new"


async def test_the_version_that_assigned_is_kept(world: World) -> None:
    made = await make(world)
    await put(world, made, rule(minimum_severity=10))
    signal = await world.new_signal()
    await put(world, made, rule(minimum_severity=20))
    assert (await world.show(signal))["rule_version"] == 2
    reassigned = await world.assign(signal, to=OFFICE, if_match="*")
    assert (reassigned.json()["rule_id"], reassigned.json()["rule_version"]) == (None, None)
    assert (await world.history(signal))[0]["rule_version"] == 2


async def test_many_new_signals_of_one_batch(world: World) -> None:
    await make(world, "Severe", CLINICAL, minimum_severity=80)
    await make(world, "Others", OFFICE)
    entities = [uuid4() for _ in range(300)]
    await world.hear_signals(
        *(signal_event(entity, 1, simplified_severity=50 + place % 2 * 40) for place, entity in enumerate(entities))
    )
    counts = await world.service.rows("SELECT assignee_id, count(*) AS n FROM assignments GROUP BY assignee_id")
    assert {row["assignee_id"]: row["n"] for row in counts} == {CLINICAL.id: 150, OFFICE.id: 150}
    assert len(await world.service.events("signal.assigned")) == 300


async def test_rules_changed_at_once_end_up_in_one_order(real_world: World) -> None:
    answers = await asyncio.gather(*(real_world.call(ADMIN, "POST", PATH, rule(f"r{n}", position=1)) for n in range(8)))
    assert [answer.status_code for answer in answers] == [201] * 8
    made = [answer.json() for answer in answers]
    moves = [put(real_world, one, rule(one["name"], position=4)) for one in made[:4]]
    deletes = [real_world.call(ADMIN, "DELETE", f"{PATH}/{one['id']}") for one in made[4:6]]
    await asyncio.gather(*moves, *deletes)
    assert [position for _, position, _ in await order(real_world)] == list(range(1, 7))
    etag = (await real_world.call(ADMIN, "GET", f"{PATH}/{made[0]['id']}")).headers["etag"]
    stale = await asyncio.gather(*(put(real_world, made[0], rule(f"w{n}"), if_match=etag) for n in range(4)))
    assert sorted(answer.status_code for answer in stale) == [200, 412, 412, 412]
    for one in made:
        await real_world.call(ADMIN, "DELETE", f"{PATH}/{one['id']}")


async def test_a_rule_of_an_id_that_never_was(world: World) -> None:
    for method, body in (("GET", None), ("PUT", rule()), ("DELETE", None)):
        assert problem(await world.call(ADMIN, method, f"{PATH}/{UUID(int=5)}", body)) == (404, "not_found")
