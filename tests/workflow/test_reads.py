"""What is read in single statements: on connections of its own, of one moment, and in the form of its models."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import BaseModel

from services.workflow.schemas import AssigneesView, AssignmentPage, AssignmentView, CommentPage, HistoryView
from services.workflow.schemas_interventions import InterventionPage
from services.workflow.schemas_summary import SummaryView
from shared.db import create_reading_pool
from shared.events.vocabulary import UserRole
from tests.workflow.test_interventions import activate, detect, fix
from tests.workflow.world import (
    ADMIN,
    CLINICAL,
    NURSING,
    OFFICE,
    VIEWER,
    Somebody,
    World,
    detection,
    month,
    problem,
    signal_event,
    user_event,
)

STRANGER = Somebody("Nobody has told of me", UserRole.ADMIN)
WINDOW = "from=2026-01-01T00:00:00Z&to=2046-01-01T00:00:00Z"


async def everything(world: World) -> list[UUID]:
    """An entity that was closed, went on and was taken up again, and one that is put aside, untouched or resolved."""
    entity, other = uuid4(), uuid4()
    await detect(world, entity, {1: 10.0})
    await activate(world, detection(entity, 1), title='"Röntgen" \\ \u2028 \t\x7f 🩻', notes="a\nb")
    await world.call(CLINICAL, "POST", f"/signals/{detection(entity, 1)}/comments", {"text": 'Two "words" – \x01.'})
    await world.bring_to(detection(entity, 1), "closed")
    await detect(world, entity, {3: 9.0, 5: 5.0, 7: 4.0})
    measured = (await activate(world, detection(entity, 7))).json()
    assert (await fix(world, measured["id"])).status_code == 200
    await world.assign(detection(entity, 7), CLINICAL, NURSING, notes="Please.\n«Soon»")
    await detect(world, entity, {8: 4.0})
    await world.hear_signals(signal_event(other, 1, group_value="Type 1", facility_id=None, system_name=None))
    snooze = {"until": datetime.now(UTC) + timedelta(days=30), "until_worse": True}
    await world.call(OFFICE, "POST", f"/signals/{detection(other, 1)}/snooze", snooze)
    resolved = await world.new_signal()
    await world.bring_to(resolved, "in_progress")
    await world.move(resolved, NURSING, "resolved", resolution_reason="improved")
    return [*(detection(entity, number) for number in (1, 3, 7, 8)), detection(other, 1), resolved]


def reads(signals: list[UUID]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Everything that is read, and what it answers."""
    for signal in signals:
        yield f"/signals/{signal}/assignment", AssignmentView
        yield f"/signals/{signal}/assignment/history", HistoryView
        yield f"/signals/{signal}/comments", CommentPage
        yield f"/signals/{signal}/interventions", InterventionPage
    for query in (
        "",
        "limit=2",
        "assignee_id=me",
        f"assignee_id=me&assignee_id={CLINICAL.id}&assigner_id={CLINICAL.id}",
        "status=resolved",
        "status=closed&status=assigned&role_type=nursing_leadership",
        "overdue=true&snoozed=false",
        "overdue=false&snoozed=true",
    ):
        yield f"/assignments?{query}", AssignmentPage
    for query in ("", f"&assignee_id=me&assignee_id={ADMIN.id}", "&role_type=nursing_leadership"):
        yield f"/assignments/summary?{WINDOW}{query}", SummaryView
    yield "/assignees", AssigneesView


async def test_each_read_has_the_form_of_its_model_on_a_connection_without_a_session(real_world: World) -> None:
    """Connections of sessions read JSON and other types in ways of their own; the service reads without them."""
    app, signals = real_world.service.app, await everything(real_world)

    async def ask() -> dict[str, httpx.Response]:
        return {path: await real_world.call(NURSING, "GET", path) for path, _ in reads(signals)}

    in_sessions = await ask()
    url = real_world.service.session_maker.kw["bind"].url.render_as_string(hide_password=False)
    settings = app.state.settings.model_copy(update={"database_url": url.replace("+asyncpg", "")})
    app.state.session_maker = None
    async with create_reading_pool(settings, "workflow") as app.state.reading_pool:
        answers = await ask()
        unknown = [await real_world.call(NURSING, "GET", path) for path, _ in reads([uuid4()]) if "/signals/" in path]
    for path, model in reads(signals):
        answer = answers[path]
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
        read = model.model_validate_json(answer.content)
        assert read.model_dump_json(by_alias=True) == answer.text, "all fields, in their order and their form"
        assert answer.content == in_sessions[path].content
        assert answer.headers.get("etag") == getattr(read, "etag", None)
    assert [problem(answer) for answer in unknown] == [(404, "signal_not_known_yet")] * 4


async def test_what_is_shown_of_people_is_their_present_name(world: World) -> None:
    signal = await world.new_signal()
    assert (await world.assign(signal, STRANGER, NURSING)).status_code == 200
    await world.hear_users(user_event(NURSING, "updated", sequence=2, name="Another Name"))
    await world.hear_users(user_event(NURSING, "deactivated", sequence=3, name="Another Name", is_active=False))
    seen = await world.show(signal)
    assert seen["assignee"] == {"id": str(NURSING.id), "name": "Another Name"}
    assert seen["assigner"] == {"id": str(STRANGER.id), "name": "an unknown user"}
    # The caller is known from the token at least, but to themselves only; what was heard of since is newer.
    assert (await world.show(signal, STRANGER))["assigner"]["name"] == STRANGER.name
    assert (await world.show(signal, NURSING))["assignee"]["name"] == "Another Name"
    for user in (VIEWER, STRANGER):
        (row,) = (await world.call(user, "GET", "/assignments")).json()["assignments"]
        row.pop("signal")
        assert row == await world.show(signal, user)
    await world.move(signal, STRANGER, "in_progress")
    assert (await world.move(signal, STRANGER, "resolved")).status_code == 200
    assert (await world.show(signal))["resolved_by"] == {"id": str(STRANGER.id), "name": "an unknown user"}
    (person,) = (await world.call(VIEWER, "GET", "/assignments/summary")).json()["people"]
    assert person["person"] == {"id": str(NURSING.id), "name": "Another Name"}
    assert str(NURSING.id) not in (await world.call(ADMIN, "GET", "/assignees")).text


async def test_a_signal_reopens_the_last_that_was_closed_before_it(world: World) -> None:
    entity = uuid4()
    for number in (1, 2, 3):
        await world.hear_signals(signal_event(entity, number, "detected" if number == 1 else "redetected"))
        await world.bring_to(detection(entity, number), "closed")
    await world.hear_signals(signal_event(entity, 4, "redetected"))
    await world.assign(detection(entity, 4))
    await world.hear_signals(signal_event(entity, 5, "redetected"))
    before = {1: None, 2: 1, 3: 2, 4: 3, 5: 3}
    seen = {number: await world.show(detection(entity, number)) for number in before}
    assert {number: (view["reopens"] or {}).get("signal_id") for number, view in seen.items()} == {
        number: None if earlier is None else str(detection(entity, earlier)) for number, earlier in before.items()
    }
    newest = str(detection(entity, 5))
    assert [view["superseded_by"] for view in seen.values()] == [newest] * 4 + [None]
    # What was carried over is shown at both of its detections; what was closed stays where it was.
    assert [view["status"] for view in seen.values()] == ["closed"] * 3 + ["assigned"] * 2
    assert seen[4]["id"] == seen[5]["id"]
    assert len({view["id"] for view in seen.values()}) == 4
    assert seen[4]["etag"] == f'"{seen[5]["etag"][1:-1]}.{newest}"'
    rows: list[Any] = (await world.call(VIEWER, "GET", "/assignments")).json()["assignments"]
    assert [row["signal_id"] for row in rows] == [str(detection(entity, number)) for number in (5, 3, 2, 1)]
    for row in rows:
        row.pop("signal")
        assert row == await world.show(UUID(row["signal_id"]))


@pytest.mark.parametrize("path", ["comments", "interventions"])
async def test_a_cursor_that_nobody_gave_out_is_refused_first(world: World, path: str) -> None:
    assert problem(await world.call(VIEWER, "GET", f"/signals/{uuid4()}/{path}?cursor=x")) == (422, "bad_cursor")


async def test_several_interventions_are_measured_over_their_own_windows(world: World) -> None:
    entity = uuid4()
    await detect(world, entity, {number: float(number) for number in range(1, 13)})
    signal = detection(entity, 12)
    made = [
        (await activate(world, signal, started_at=month(start), before_days=40, after_days=40)).json()
        for start in (9, 4, 2)
    ]
    assert [one["so_far"]["before"]["mean"] for one in made] == [8.5, 3.5, 1.5]
    found = (await world.call(VIEWER, "GET", f"/signals/{signal}/interventions")).json()["interventions"]
    assert found == made
