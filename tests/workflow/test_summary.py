"""The workload view."""

import random
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert

from services.workflow.models import Assignment
from tests.workflow.world import CLINICAL, NURSING, OFFICE, VIEWER, Somebody, World, problem

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


async def summary(world: World, query: str = "", user: Somebody = VIEWER) -> Any:
    answer = await world.call(user, "GET", f"/assignments/summary{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def assignment(world: World, status: str, to: Somebody | None = None, **columns: Any) -> None:
    """A row as if it had come about."""
    values = {
        "signal_id": uuid4(),
        "entity_id": uuid4(),
        "status": status,
        "assignee_id": to.id if to else None,
        "role_type": to.role if to else None,
    } | columns
    async with world.service.session_maker() as session, session.begin():
        await session.execute(insert(Assignment).values(**values))


def of(answers: list[Any], who: Somebody) -> Any:
    return next(answer for answer in answers if answer["person"]["id"] == str(who.id))


async def test_nothing_yet(world: World) -> None:
    empty = await summary(world)
    assert empty["total"] == {
        "open": 0,
        "overdue": 0,
        "snoozed": 0,
        "by_status": {"new": 0, "assigned": 0, "in_progress": 0, "resolved": 0},
        "assigned": 0,
        "resolved": 0,
        "median_days_to_assign": None,
        "median_days_to_resolve": None,
    }
    assert (empty["people"], empty["roles"]) == ([], [])
    assert [line["status"] for line in empty["statuses"]] == ["new", "assigned", "in_progress", "resolved"]
    window = datetime.fromisoformat(empty["to"]) - datetime.fromisoformat(empty["from"])
    assert window == timedelta(days=90)


async def test_what_is_open_now_by_person_role_and_status(world: World) -> None:
    past, ahead = NOW - DAY, NOW + DAY
    await assignment(world, "new")
    await assignment(world, "assigned", NURSING, due_at=past)
    await assignment(world, "in_progress", NURSING, due_at=ahead)
    await assignment(world, "in_progress", OFFICE, due_at=past, snoozed_at=NOW, snoozed_severity=5)
    await assignment(world, "resolved", OFFICE, due_at=past, resolved_at=NOW)
    await assignment(world, "closed", OFFICE, due_at=past, resolved_at=NOW)
    found = await summary(world)
    assert (found["total"]["open"], found["total"]["overdue"], found["total"]["snoozed"]) == (5, 1, 1)
    assert found["total"]["by_status"] == {"new": 1, "assigned": 1, "in_progress": 2, "resolved": 1}
    assert [(line["status"], line["open"], line["overdue"], line["snoozed"]) for line in found["statuses"]] == [
        ("new", 1, 0, 0),
        ("assigned", 1, 1, 0),
        ("in_progress", 2, 0, 1),
        ("resolved", 1, 0, 0),
    ]
    assert [person["person"]["name"] for person in found["people"]] == ["Administration Lead", "Nursing Lead"]
    nursing, office = of(found["people"], NURSING), of(found["people"], OFFICE)
    assert (nursing["open"], nursing["overdue"], nursing["snoozed"]) == (2, 1, 0)
    assert (office["open"], office["overdue"], office["snoozed"]) == (2, 0, 1)
    assert office["by_status"] == {"new": 0, "assigned": 0, "in_progress": 1, "resolved": 1}
    assert [(role["role_type"], role["open"]) for role in found["roles"]] == [
        ("administration", 2), ("nursing_leadership", 2)
    ]  # fmt: skip
    assert (found["total"]["resolved"], office["resolved"], nursing["resolved"]) == (2, 2, 0)


@pytest.mark.parametrize("count", [1, 2, 7, 50])
async def test_medians_are_exact(world: World, count: int) -> None:
    chance = random.Random(count)  # noqa: S311 - figures for a test
    waits = {who: [chance.uniform(0, 20) for _ in range(count + place)] for place, who in enumerate((NURSING, OFFICE))}
    works = {who: [chance.uniform(0, 60) for _ in values] for who, values in waits.items()}
    for who, values in waits.items():
        for wait, work in zip(values, works[who], strict=True):
            assigned_at = NOW - 61 * DAY
            await assignment(
                world,
                "closed",
                who,
                opened_at=assigned_at - wait * DAY,
                assigned_at=assigned_at,
                resolved_at=assigned_at + work * DAY,
            )
    found = await summary(world)
    for who in waits:
        person = of(found["people"], who)
        assert (person["assigned"], person["resolved"], person["open"]) == (len(waits[who]), len(waits[who]), 0)
        assert person["median_days_to_assign"] == pytest.approx(median(waits[who]), abs=1e-3)
        assert person["median_days_to_resolve"] == pytest.approx(median(works[who]), abs=1e-3)
    everything = [wait for values in waits.values() for wait in values]
    assert found["total"]["median_days_to_assign"] == pytest.approx(median(everything), abs=1e-3)


async def test_the_window_holds_its_beginning_and_not_its_end(world: World) -> None:
    for days in (10, 5, 1):
        assigned_at = NOW - days * DAY
        await assignment(world, "assigned", NURSING, opened_at=assigned_at - days * DAY, assigned_at=assigned_at)
    begin, end = (NOW - 10 * DAY).isoformat(), (NOW - DAY).isoformat()
    query = f"?from={begin}&to={end}".replace("+", "%2B")
    found = (await summary(world, query))["total"]
    assert (found["assigned"], found["median_days_to_assign"], found["open"]) == (2, 7.5, 3)
    turned = await world.call(VIEWER, "GET", f"/assignments/summary?from={end}&to={begin}".replace("+", "%2B"))
    assert problem(turned) == (422, "bad_window")


async def test_filters_choose_whose(world: World) -> None:
    for who in (CLINICAL, NURSING, OFFICE):
        await assignment(world, "assigned", who)
    for query in (f"?assignee_id={NURSING.id}", "?assignee_id=me", "?role_type=nursing_leadership"):
        found = await summary(world, query, NURSING)
        assert [person["person"]["name"] for person in found["people"]] == ["Nursing Lead"]
        assert found["total"]["open"] == 1
    both = await summary(world, "?role_type=administration&role_type=clinical_leadership")
    assert both["total"]["open"] == 2


async def test_what_is_unknown_does_not_count_for_a_median(world: World) -> None:
    await assignment(world, "assigned", NURSING, assigned_at=NOW - DAY)
    found = (await summary(world))["total"]
    assert (found["assigned"], found["median_days_to_assign"]) == (1, None)


async def test_the_story_of_a_signal_counts(world: World) -> None:
    signal = await world.new_signal()
    await world.bring_to(signal, "resolved")
    found = (await summary(world))["total"]
    assert (found["assigned"], found["resolved"]) == (1, 1)
    assert found["median_days_to_assign"] >= 0
    assert found["median_days_to_resolve"] >= 0


@pytest.mark.parametrize(
    "query",
    [
        "?from=yesterday",
        "?from=2026-01-01",
        "?to=2026-01-01T00:00:00",
        "?role_type=admin",
        "?assignee_id=you",
        "?to=0001-01-01T00:00:00Z&from=0001-01-02T00:00:00Z",
        "?to=0001-01-01T00:00:00Z",
    ],
)
async def test_bad_filters_are_422(world: World, query: str) -> None:
    answer = await world.call(VIEWER, "GET", f"/assignments/summary{query}")
    assert answer.status_code == 422


async def test_an_assignment_is_not_called_summary(world: World) -> None:
    assert problem(await world.call(None, "GET", "/assignments/summary"))[0] == 401
    assert (await world.call(VIEWER, "GET", f"/assignments/{UUID(int=1)}")).status_code == 404
