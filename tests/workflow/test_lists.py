"""The list of assignments, and comments."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from tests.workflow.world import (
    ADMIN,
    CLINICAL,
    NURSING,
    OFFICE,
    VIEWER,
    World,
    detection,
    kinds,
    problem,
    signal_event,
)


async def pages(world: World, path: str, name: str, limit: int) -> list[Any]:
    """All rows, page by page."""
    rows: list[Any] = []
    cursor = ""
    while True:
        joint = "&" if "?" in path else "?"
        answer = await world.call(VIEWER, "GET", f"{path}{joint}limit={limit}{cursor}")
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page[name]) <= limit
        rows += page[name]
        if not page["has_more"]:
            assert page["cursor"] is None
            return rows
        cursor = f"&cursor={page['cursor']}"


async def test_pages_neither_skip_nor_repeat_though_many_have_the_same_time(world: World) -> None:
    signals = [await world.new_signal() for _ in range(7)]
    for signal in signals:
        await world.assign(signal)
    async with world.service.session_maker() as session, session.begin():
        await session.execute(text("UPDATE assignments SET created_at = '2026-05-01T00:00:00Z'"))
    for limit in (1, 2, 3, 7, 100):
        rows = await pages(world, "/assignments", "assignments", limit)
        assert sorted(row["signal_id"] for row in rows) == sorted(map(str, signals))


async def test_filters(world: World) -> None:
    first, second, third = [await world.new_signal() for _ in range(3)]
    await world.assign(first, CLINICAL, NURSING)
    await world.assign(second, OFFICE, CLINICAL)
    await world.assign(third, CLINICAL, ADMIN)
    await world.move(second, CLINICAL, "in_progress")

    async def found(query: str, user: Any = CLINICAL) -> list[str]:
        answer = await world.call(user, "GET", f"/assignments?{query}")
        assert answer.status_code == 200, answer.text
        return [row["signal_id"] for row in answer.json()["assignments"]]

    def are(*signals: UUID) -> list[str]:
        return [str(signal) for signal in signals]

    assert await found("") == are(third, second, first)
    assert await found("assignee_id=me") == are(second)
    assert await found("assigner_id=me") == are(third, first)
    assert await found(f"assignee_id=me&assignee_id={NURSING.id}") == are(second, first)
    assert await found(f"assigner_id={OFFICE.id}&status=assigned") == []
    assert await found("status=assigned&status=in_progress&role_type=clinical_leadership") == are(second)
    assert await found("role_type=nursing_leadership") == are(third, first)
    assert await found("assignee_id=me", NURSING) == are(first)


async def test_a_row_has_its_signal_and_what_the_caller_may_do(world: World) -> None:
    entity = uuid4()
    await world.hear_signals(signal_event(entity, 1))
    await world.bring_to(detection(entity, 1), "closed")
    await world.hear_signals(signal_event(entity, 2, "redetected"))
    await world.assign(detection(entity, 2))
    answer = await world.call(NURSING, "GET", "/assignments")
    latest, closed = answer.json()["assignments"]
    assert latest["signal"]["facility"] == "Northfield General"
    assert latest["signal"]["severity"] == 88
    assert latest["allowed_next_statuses"] == ["in_progress", "new"]
    assert latest["reopens"]["signal_id"] == closed["signal_id"] == str(detection(entity, 1))
    assert (closed["superseded_by"], closed["allowed_next_statuses"]) == (str(detection(entity, 2)), [])
    for row in (latest, closed):
        row.pop("signal")
        assert row == await world.show(UUID(row["signal_id"]), NURSING)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "status=done",
        "assignee_id=you",
        "cursor=x",
        "cursor=bm8",
        "role_type=viewer",
        "limit=1.5",
    ],
)
async def test_bad_queries_are_422(world: World, query: str) -> None:
    assert problem(await world.call(VIEWER, "GET", f"/assignments?{query}"))[0] == 422


async def test_comments_show_along_the_chain(world: World) -> None:
    entity = uuid4()
    old, new = detection(entity, 1), detection(entity, 2)
    await world.hear_signals(signal_event(entity, 1))
    first = await world.call(CLINICAL, "POST", f"/signals/{old}/comments", {"text": "The evening shift was short."})
    assert first.status_code == 201
    await world.hear_signals(signal_event(entity, 2, "redetected"))
    assert problem(await world.call(CLINICAL, "POST", f"/signals/{old}/comments", {"text": "Late."})) == (
        409,
        "superseded",
    )
    second = await world.call(NURSING, "POST", f"/signals/{new}/comments", {"text": "Two nurses more now."})
    for signal in (old, new):
        rows = await pages(world, f"/signals/{signal}/comments", "comments", 1)
        assert rows == [second.json(), first.json()]
    assert rows[0]["author"] == {"id": str(NURSING.id), "name": "Nursing Lead"}
    assert (await world.events_of(old))[0]["data"]["text"] == "The evening shift was short."
    (event,) = await world.events_of(new)
    assert (event["type"], event["feed"], event["actor"]) == ("comment.added", "comment", NURSING.id)
    assert event["summary"] == "Nursing Lead commented on ‘breachRate at Northfield General’."


async def test_who_may_comment_and_what(world: World) -> None:
    signal = await world.new_signal()
    path = f"/signals/{signal}/comments"
    assert problem(await world.call(VIEWER, "POST", path, {"text": ""})) == (403, "forbidden")
    for body in ({}, {"text": ""}, {"text": " \n"}, {"text": "a\0"}, {"text": "x" * 10_001}, {"text": None}):
        assert problem(await world.call(ADMIN, "POST", path, body)) == (422, "invalid")
    assert problem(await world.call(ADMIN, "POST", f"/signals/{uuid4()}/comments", {"text": "Hm."}))[0] == 404
    assert (await world.call(VIEWER, "GET", f"/signals/{uuid4()}/comments")).status_code == 404
    for _ in range(2):
        assert (await world.call(ADMIN, "POST", path, {"text": "Once."}, key="k")).status_code == 201
    assert kinds(await world.events_of(signal)) == ["comment.added"]
