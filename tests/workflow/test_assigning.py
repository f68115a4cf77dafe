"""Assigning and reassigning, what is answered, and in which order a request is checked."""

from typing import Any
from uuid import uuid4

import pytest

from tests.workflow.world import (
    ADMIN,
    CLINICAL,
    FORMER,
    NURSING,
    OFFICE,
    VIEWER,
    Somebody,
    World,
    detection,
    kinds,
    problem,
    signal_event,
    user_event,
)


async def test_an_untouched_signal_is_new_and_may_be_assigned(world: World) -> None:
    signal = await world.new_signal()
    seen = await world.show(signal, CLINICAL)
    assert (seen["status"], seen["id"], seen["etag"]) == ("new", None, '"0"')
    assert seen["allowed_next_statuses"] == ["assigned"]
    assert (await world.show(signal, VIEWER))["allowed_next_statuses"] == []
    assert await world.history(signal) == []


async def test_assigning_tells_who_assigned_what_to_whom(world: World) -> None:
    signal = await world.new_signal(group_value="Type 1")
    answer = await world.assign(signal, CLINICAL, NURSING, notes="Please look at the evening shift.")
    assert answer.status_code == 200
    seen = answer.json()
    assert answer.headers["etag"] == seen["etag"] == '"1"'
    assert (seen["status"], seen["role_type"]) == ("assigned", "nursing_leadership")
    assert seen["assignee"] == {"id": str(NURSING.id), "name": "Nursing Lead"}
    assert seen["assigner_id"] == str(CLINICAL.id)
    assert seen["notes"] == "Please look at the evening shift."
    assert seen["assigned_at"]
    assert not seen["started_at"]
    assert seen["allowed_next_statuses"] == ["in_progress", "new"]
    assert await world.show(signal, CLINICAL) == seen

    (event,) = await world.events_of(signal)
    assert (event["type"], event["feed"], event["sequence"]) == ("signal.assigned", "assignment", 1)
    assert event["actor"] == CLINICAL.id
    assert event["summary"] == "Clinical Lead assigned ‘breachRate at Northfield General (Type 1)’ to Nursing Lead."
    assert event["data"]["reason"] == "assigned"
    assert event["data"]["assignment"]["assignee"] == {"user_id": str(NURSING.id), "name": "Nursing Lead"}
    changed = {"status", "assignee", "assigner", "role_type", "notes", "assigned_at", "due_at"}
    assert set(event["data"]["changed"]) == changed

    (line,) = await world.history(signal)
    assert (line["kind"], line["from_status"], line["to_status"]) == ("assigned", "new", "assigned")
    assert (line["by"]["name"], line["assignee"]["name"]) == ("Clinical Lead", "Nursing Lead")
    assert line["notes"] == "Please look at the evening shift."


async def test_events_go_out_under_the_entitys_key(world: World) -> None:
    entity = uuid4()
    await world.hear_signals(signal_event(entity, 1))
    await world.assign(detection(entity, 1))
    rows = await world.service.rows("SELECT topic, key FROM outbox")
    assert rows == [{"topic": "compass.workflow.v1", "key": str(entity).encode()}]


async def test_reassigning_needs_if_match_and_keeps_the_status(world: World) -> None:
    signal = await world.new_signal()
    await world.bring_to(signal, "in_progress")
    before = await world.show(signal)
    assert problem(await world.assign(signal, OFFICE, OFFICE)) == (409, "already_assigned")
    assert problem(await world.assign(signal, OFFICE, OFFICE, if_match='"1"')) == (412, "stale_version")
    answer = await world.assign(signal, OFFICE, OFFICE, if_match=before["etag"])
    assert answer.status_code == 200
    after = answer.json()
    same = ("status", "assigned_at", "started_at", "notes", "id")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert (after["assignee_id"], after["assigner_id"]) == (str(OFFICE.id), str(OFFICE.id))
    event = (await world.events_of(signal))[-1]
    assert (event["type"], event["data"]["reason"]) == ("signal.assigned", "reassigned")
    assert event["data"]["previous_assignee"]["name"] == "Nursing Lead"
    assert event["summary"].startswith("Administration Lead reassigned ")
    assert [line["kind"] for line in await world.history(signal)] == ["assigned", "moved", "reassigned"]


@pytest.mark.parametrize("status", ["resolved", "closed"])
async def test_what_is_resolved_or_closed_is_not_assigned_again(world: World, status: str) -> None:
    signal = await world.new_signal()
    await world.bring_to(signal, status)
    etag = (await world.show(signal))["etag"]
    for if_match in (None, etag):
        assert problem(await world.assign(signal, if_match=if_match)) == (409, "transition_not_allowed")


async def test_unassigning_clears_the_people_and_the_signal_can_be_assigned_again(world: World) -> None:
    signal = await world.new_signal()
    await world.bring_to(signal, "assigned")
    answer = await world.call(OFFICE, "DELETE", f"/signals/{signal}/assignment")
    assert answer.status_code == 200
    seen = answer.json()
    assert (seen["status"], seen["assignee"], seen["role_type"], seen["assigned_at"]) == ("new", None, None, None)
    assert seen["allowed_next_statuses"] == ["assigned"]
    event = (await world.events_of(signal))[-1]
    assert (event["type"], event["feed"]) == ("status.changed", "status_change")
    assert event["summary"] == "Administration Lead took ‘breachRate at Northfield General’ back from Nursing Lead."
    again = await world.assign(signal, ADMIN, CLINICAL)
    assert (again.status_code, again.json()["id"]) == (200, seen["id"])
    assert [line["kind"] for line in await world.history(signal)] == ["assigned", "unassigned", "assigned"]
    assert [event["sequence"] for event in await world.events_of(signal)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("assignee", "role_type", "code", "pointer"),
    [
        (Somebody("Nobody", NURSING.role), "nursing_leadership", "assignee_unknown", "/body/assignee_id"),
        (FORMER, "nursing_leadership", "assignee_inactive", "/body/assignee_id"),
        (VIEWER, "nursing_leadership", "assignee_is_viewer", "/body/assignee_id"),
        (NURSING, "clinical_leadership", "role_type_mismatch", "/body/role_type"),
        (NURSING, "nursing_leadership", None, None),
        (ADMIN, "clinical_leadership", None, None),
        (ADMIN, "administration", None, None),
    ],
    ids=str,
)
async def test_who_can_be_assigned(
    world: World, assignee: Somebody, role_type: str, code: str | None, pointer: str | None
) -> None:
    signal = await world.new_signal()
    body = {"assignee_id": assignee.id, "role_type": role_type}
    answer = await world.call(CLINICAL, "POST", f"/signals/{signal}/assign", body)
    if code is None:
        assert answer.status_code == 200
    else:
        assert problem(answer) == (422, code)
        assert answer.json()["errors"][0]["pointer"] == pointer
        assert await world.events_of(signal) == []


async def test_assignees_are_active_and_no_viewers(world: World) -> None:
    answer = await world.call(NURSING, "GET", "/assignees")
    assert [user["name"] for user in answer.json()["assignees"]] == [
        "Admin",
        "Administration Lead",
        "Clinical Lead",
        "Nursing Lead",
        "Other Admin",
    ]
    assert problem(await world.call(VIEWER, "GET", "/assignees")) == (403, "forbidden")


async def test_a_deactivated_user_is_no_assignee_any_more(world: World) -> None:
    await world.hear_users(user_event(NURSING, "deactivated", sequence=3, is_active=False))
    await world.hear_users(user_event(NURSING, "updated", sequence=2, name="Too Late"))
    signal = await world.new_signal()
    assert problem(await world.assign(signal, to=NURSING)) == (422, "assignee_inactive")


async def test_a_signal_that_was_not_heard_of_yet(world: World) -> None:
    signal = uuid4()
    calls: list[tuple[str, str, Any]] = [
        ("GET", "assignment", None),
        ("GET", "assignment/history", None),
        ("POST", "assign", {"assignee_id": str(NURSING.id), "role_type": "nursing_leadership"}),
        ("DELETE", "assignment", None),
        ("PATCH", "status", {"status": "in_progress"}),
    ]
    for method, path, body in calls:
        answer = await world.call(CLINICAL, method, f"/signals/{signal}/{path}", body)
        assert problem(answer) == (404, "signal_not_known_yet")


async def test_the_order_of_the_checks(world: World) -> None:
    """401, the role's 403, 422, 404, 412, the transition's 409, the person's 403, the field's 422."""
    signal = await world.new_signal()
    await world.bring_to(signal, "in_progress")
    etag = (await world.show(signal))["etag"]
    path, unknown = f"/signals/{signal}/status", f"/signals/{uuid4()}/status"
    bad, closing, resolving = {"status": "done"}, {"status": "closed"}, {"status": "resolved"}

    assert problem(await world.call(None, "PATCH", unknown, bad, if_match="x")) == (401, "missing_token")
    assert problem(await world.call(VIEWER, "PATCH", unknown, bad, if_match="x")) == (403, "forbidden")
    assert problem(await world.call(OFFICE, "PATCH", unknown, bad, if_match='"9"')) == (422, "invalid")
    assert problem(await world.call(OFFICE, "PATCH", unknown, closing, if_match="9")) == (422, "invalid")
    assert problem(await world.call(OFFICE, "PATCH", unknown, closing, if_match='"9"'))[0] == 404
    assert problem(await world.call(OFFICE, "PATCH", path, closing, if_match='"9"')) == (412, "stale_version")
    assert problem(await world.call(OFFICE, "PATCH", path, closing, if_match=etag)) == (409, "transition_not_allowed")
    assert problem(await world.call(OFFICE, "PATCH", path, resolving, if_match=etag)) == (403, "not_involved")
    answer = await world.call(NURSING, "PATCH", path, resolving, if_match=etag)
    assert problem(answer) == (422, "resolution_notes_needed")
    assert answer.json()["errors"] == [
        {"pointer": "/body/resolution_notes", "detail": "Resolving needs resolution notes."}
    ]


async def test_broken_json_without_a_token_is_still_401(world: World) -> None:
    signal = await world.new_signal()
    for user, status in ((None, 401), (VIEWER, 403), (NURSING, 422)):
        async with world.client(user) as client:
            answer = await client.patch(
                f"/api/signals/{signal}/status", content=b"{", headers={"content-type": "application/json"}
            )
        assert answer.status_code == status


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"",
        b'{"status": "in_progress", "extra": 1}',
        b'{"status": "in_progress", "notes": "a\\u0000b"}',
        b'{"status": "in_progress", "notes": "\\ud800"}',
        b'{"status": "in_progress", "\\ud800": 1}',
        b'{"status": 3}',
        b'{"status": "in_progress", "notes": 3}',
        b'{"status": "in_progress", "notes": NaN}',
    ],
    ids=str,
)
async def test_malformed_bodies_are_422(world: World, body: bytes) -> None:
    signal = await world.new_signal()
    await world.bring_to(signal, "assigned")
    for key in ({}, {"idempotency-key": "k"}):
        async with world.client(NURSING) as client:
            answer = await client.patch(
                f"/api/signals/{signal}/status", content=body, headers={"content-type": "application/json", **key}
            )
        assert problem(answer)[0] == 422, answer.text


@pytest.mark.parametrize("if_match", ["1", '"1', "W/", '"1" "2"', '"a b"'])
async def test_a_malformed_if_match_is_422(world: World, if_match: str) -> None:
    signal = await world.new_signal()
    assert problem(await world.assign(signal, if_match=if_match)) == (422, "invalid")


@pytest.mark.parametrize(
    ("if_match", "status"), [("*", 200), ('"7", "0"', 200), ('W/"0"', 412), ('"1"', 412), ('""', 412)]
)
async def test_if_match_on_an_untouched_signal(world: World, if_match: str, status: int) -> None:
    signal = await world.new_signal()
    assert (await world.assign(signal, if_match=if_match)).status_code == status


async def test_notes_of_moves_stand_in_the_history_and_in_the_event(world: World) -> None:
    signal = await world.new_signal()
    await world.bring_to(signal, "assigned")
    await world.move(signal, NURSING, "in_progress", notes="Begun.")
    answer = await world.move(
        signal, NURSING, "resolved", resolution_notes="More staff.", resolution_reason="improved", notes="Done."
    )
    seen = answer.json()
    assert (seen["resolution_notes"], seen["resolution_reason"]) == ("More staff.", "improved")
    assert seen["resolved_by"]["name"] == "Nursing Lead"
    lines = await world.history(signal)
    assert [(line["to_status"], line["notes"], line["resolution_notes"]) for line in lines] == [
        ("assigned", None, None),
        ("in_progress", "Begun.", None),
        ("resolved", "Done.", "More staff."),
    ]
    events = await world.events_of(signal)
    assert kinds(events) == ["signal.assigned", "status.changed", "status.changed"]
    assert events[2]["summary"] == (
        "Nursing Lead moved ‘breachRate at Northfield General’ from in progress to resolved."
    )
    assert (events[2]["data"]["notes"], events[2]["data"]["from_status"]) == ("Done.", "in_progress")


async def test_resolution_is_taken_only_when_resolving(world: World) -> None:
    signal = await world.new_signal()
    await world.bring_to(signal, "assigned")
    answer = await world.move(signal, NURSING, "in_progress", resolution_notes="Too early.")
    assert problem(answer) == (422, "not_resolving")
    await world.bring_to(second := await world.new_signal(), "in_progress")
    assert problem(await world.move(second, NURSING, "resolved", resolution_notes=" \n")) == (
        422,
        "resolution_notes_needed",
    )
