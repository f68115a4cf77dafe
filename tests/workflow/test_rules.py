"""Ownership rules: kept in order, versioned, told of; and what a dry run says of them."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.workflow import service_rules
from shared.pagination import encode_cursor
from tests.workflow.world import (
    ADMIN,
    CLINICAL,
    FORMER,
    NURSING,
    OFFICE,
    OTHER_ADMIN,
    VIEWER,
    Somebody,
    World,
    problem,
    signal_event,
    user_event,
)

PATH = "/ownership-rules"


def rule(name: str = "All", to: Somebody = NURSING, **more: Any) -> dict[str, Any]:
    """A rule's request; conditions by their names."""
    fields = {field: more.pop(field) for field in ("position", "enabled", "role_type") if field in more}
    return {"name": name, "conditions": more, "assignee_id": to.id, "role_type": to.role} | fields


async def make(world: World, *args: Any, **more: Any) -> Any:
    answer = await world.call(ADMIN, "POST", PATH, rule(*args, **more))
    assert answer.status_code == 201, answer.text
    assert answer.headers["etag"] == answer.json()["etag"]
    return answer.json()


async def order(world: World) -> list[tuple[str, int, int]]:
    """Name, position and version of all rules, as listed."""
    answer = await world.call(ADMIN, "GET", PATH)
    return [(found["name"], found["position"], found["version"]) for found in answer.json()["rules"]]


async def put(world: World, made: Any, body: dict[str, Any], **more: Any) -> httpx.Response:
    return await world.call(ADMIN, "PUT", f"{PATH}/{made['id']}", body, **more)


async def test_a_rule_is_shown_as_it_was_made(world: World) -> None:
    given = {
        "domain": ["Safety", "Effectiveness"],
        "facility": ["Northfield General", "NG1"],
        "system_name": ["Northfield"],
        "service_line": ["Emergency, adult"],
        "metric_id": ["breachRate"],
        "signal_type": ["emerging_risk", "critical_trajectory"],
        "minimum_severity": 60,
    }
    made = await make(world, "Emergency", **given)
    shown = await world.call(ADMIN, "GET", f"{PATH}/{made['id']}")
    assert (shown.json(), shown.headers["etag"]) == (made, '"1"')
    assert {name: sorted(value) if isinstance(value, list) else value for name, value in given.items()} == made[
        "conditions"
    ]
    assert made["assignee"] == {"id": str(NURSING.id), "name": "Nursing Lead"}
    assert (made["position"], made["enabled"], made["skipped"]) == (1, True, None)


async def test_rules_are_numbered_without_gaps_and_without_ties(world: World) -> None:
    for name in "abc":
        await make(world, name)
    await make(world, "first", position=1)
    await make(world, "third", position=3)
    await make(world, "far", position=99)
    assert await order(world) == [
        ("first", 1, 1), ("a", 2, 2), ("third", 3, 1), ("b", 4, 3), ("c", 5, 3), ("far", 6, 1)
    ]  # fmt: skip


async def test_moving_renumbers_the_others_and_counts_as_their_change(world: World) -> None:
    made = {name: await make(world, name) for name in "abcd"}
    answer = await put(world, made["d"], rule("d", position=2))
    assert (answer.json()["position"], answer.headers["etag"]) == (2, '"2"')
    assert await order(world) == [("a", 1, 1), ("d", 2, 2), ("b", 3, 2), ("c", 4, 2)]
    events = (await world.service.events("rule.changed"))[4:]
    assert [event.subject for event in events] == [UUID(made[name]["id"]) for name in "dbc"]
    assert all(event.actorid == ADMIN.id and event.feedtype is None for event in events)
    assert [event.sequence for event in events] == [2, 2, 2]
    answer = await put(world, made["b"], rule("b", position=1), if_match='"1"')
    assert problem(answer) == (412, "stale_version")
    for _ in range(2):
        assert (await put(world, made["a"], rule("a", position=99))).json()["position"] == 4


async def test_deleting_closes_the_gap_and_keeps_the_versions(world: World) -> None:
    made = {name: await make(world, name) for name in "abc"}
    path = f"{PATH}/{made['a']['id']}"
    assert problem(await world.call(ADMIN, "DELETE", path, if_match='"7"')) == (412, "stale_version")
    answer = await world.call(OTHER_ADMIN, "DELETE", path, if_match='"1"')
    assert (answer.status_code, answer.content) == (204, b"")
    assert await order(world) == [("b", 1, 2), ("c", 2, 2)]
    for method, body in (("GET", None), ("PUT", rule()), ("DELETE", None)):
        assert problem(await world.call(ADMIN, method, path, body)) == (404, "not_found")
    versions = (await world.call(ADMIN, "GET", f"{path}/versions")).json()["versions"]
    assert [(line["version"], line["changed_by"]["name"], line["rule"]["deleted"]) for line in versions] == [
        (2, "Other Admin", True),
        (1, "Admin", False),
    ]
    deleted = (await world.service.events("rule.changed"))[-1]
    assert deleted.subject == UUID(made["a"]["id"])


async def test_every_version_is_kept_page_by_page(world: World) -> None:
    made = await make(world)
    for severity in (10, 20, 30):
        assert (await put(world, made, rule(minimum_severity=severity))).status_code == 200
    seen: list[Any] = []
    cursor = ""
    while True:
        answer = await world.call(ADMIN, "GET", f"{PATH}/{made['id']}/versions?limit=3{cursor}")
        seen += answer.json()["versions"]
        if not answer.json()["has_more"]:
            break
        cursor = f"&cursor={answer.json()['cursor']}"
    assert [(line["version"], line["rule"]["conditions"]["minimum_severity"]) for line in seen] == [
        (4, 30), (3, 20), (2, 10), (1, None)
    ]  # fmt: skip
    assert problem(await world.call(ADMIN, "GET", f"{PATH}/{uuid4()}/versions")) == (404, "not_found")
    for cursor in ("abc", encode_cursor(2**40), encode_cursor(0), encode_cursor("1"), encode_cursor(1, 2)):
        bad = await world.call(ADMIN, "GET", f"{PATH}/{made['id']}/versions?cursor={cursor}")
        assert problem(bad) == (422, "bad_cursor")


async def test_what_differs_in_nothing_is_no_change(world: World) -> None:
    made = await make(world, metric_id=["b", "a", "a"])
    answer = await put(world, made, rule(metric_id=["a", "b"]))
    assert answer.json() == made
    assert len(await world.service.events("rule.changed")) == 1


async def test_there_are_not_more_than_anybody_can_look_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_rules, "MOST_RULES", 1)
    made = await make(world)
    assert problem(await world.call(ADMIN, "POST", PATH, rule())) == (409, "too_many_rules")
    assert (await put(world, made, rule("Renamed"))).status_code == 200


async def test_a_key_makes_one_rule(world: World) -> None:
    for _ in range(2):
        assert (await world.call(ADMIN, "POST", PATH, rule(), key="k")).status_code == 201
    assert await order(world) == [("All", 1, 1)]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": " "}, "/body/name"),
        ({"name": "x" * 256}, "/body/name"),
        ({"name": "a\0b"}, "/body/name"),
        ({"position": 0}, "/body/position"),
        ({"position": "1"}, "/body/position"),
        ({"position": True}, "/body/position"),
        ({"enabled": "yes"}, "/body/enabled"),
        ({"conditions": {"domain": ["Weather"]}}, "/body/conditions/domain/0"),
        ({"conditions": {"signal_type": ["odd"]}}, "/body/conditions/signal_type/0"),
        ({"conditions": {"minimum_severity": 101}}, "/body/conditions/minimum_severity"),
        ({"conditions": {"facility": [""]}}, "/body/conditions/facility/0"),
        ({"conditions": {"facility": ["a\ud800"]}}, "/body/conditions/facility/0"),
        ({"conditions": {"facilities": ["a"]}}, "/body/conditions/facilities"),
        ({"assignee_id": "me"}, "/body/assignee_id"),
        ({"role_type": "viewer"}, "/body/role_type"),
    ],
)
async def test_a_malformed_rule_is_422(world: World, change: dict[str, Any], pointer: str) -> None:
    for path, body in ((PATH, rule() | change), (f"{PATH}/dry-run", {"rule": rule() | change})):
        answer = await world.call(ADMIN, "POST", path, body)
        assert problem(answer) == (422, "invalid")
        expected = pointer if path == PATH else pointer.replace("/body", "/body/rule")
        assert [error["pointer"] for error in answer.json()["errors"]] == [expected]


@pytest.mark.parametrize(
    ("to", "role_type", "code"),
    [
        (VIEWER, "administration", "assignee_is_viewer"),
        (FORMER, "nursing_leadership", "assignee_inactive"),
        (NURSING, "administration", "role_type_mismatch"),
        (Somebody("Nobody", ADMIN.role), "administration", "assignee_unknown"),
    ],
)
async def test_the_assignee_must_be_able_to_be_one(world: World, to: Somebody, role_type: str, code: str) -> None:
    made = await make(world)
    body = rule(to=to, role_type=role_type)
    assert problem(await world.call(ADMIN, "POST", PATH, body)) == (422, code)
    assert problem(await put(world, made, body)) == (422, code)
    assert problem(await world.call(ADMIN, "POST", f"{PATH}/dry-run", {"rules": [body]})) == (422, code)


async def test_an_assignee_who_cannot_be_one_any_more_is_shown(world: World) -> None:
    await make(world)
    await world.hear_users(user_event(NURSING, "deactivated", sequence=2, is_active=False))
    (shown,) = (await world.call(ADMIN, "GET", PATH)).json()["rules"]
    assert shown["skipped"]["code"] == "assignee_inactive"
    await world.hear_users(user_event(NURSING, "updated", sequence=3, role="administration"))
    (shown,) = (await world.call(ADMIN, "GET", PATH)).json()["rules"]
    assert shown["skipped"]["code"] == "role_type_mismatch"


@pytest.mark.parametrize("who", [CLINICAL, NURSING, OFFICE, VIEWER, None])
async def test_only_admins_see_and_change_rules(world: World, who: Somebody | None) -> None:
    made = await make(world)
    one = f"{PATH}/{made['id']}"
    for method, path, body in (
        ("GET", PATH, None),
        ("POST", PATH, rule()),
        ("GET", one, None),
        ("PUT", one, rule()),
        ("DELETE", one, None),
        ("GET", f"{one}/versions", None),
        ("POST", f"{PATH}/dry-run", {"rule": rule()}),
    ):
        assert problem(await world.call(who, method, path, body))[0] == (401 if who is None else 403)


async def outcomes(world: World, **body: Any) -> Any:
    answer = await world.call(ADMIN, "POST", f"{PATH}/dry-run", body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_dry_run_says_who_would_have_got_what_and_writes_nothing(world: World) -> None:
    severe = await world.new_signal(simplified_severity=90)
    mild = await world.new_signal(simplified_severity=40)
    other = await world.new_signal(simplified_severity=95, metric_id="losIndex")
    await make(world, "Length of stay", OFFICE, metric_id=["losIndex"])
    before = len(await world.service.events())
    tried = await outcomes(world, rule=rule("Severe", minimum_severity=80))
    found = {UUID(line["signal_id"]): line for line in tried["signals"]}
    assert mild not in found
    assert (found[severe]["outcome"], found[severe]["assignee"]["name"]) == ("assigned", "Nursing Lead")
    assert found[severe]["winner"] == {"id": None, "name": "Severe", "position": 2}
    assert (found[other]["outcome"], found[other]["winner"]["name"]) == ("other_rule", "Length of stay")
    assert (tried["signals_looked_at"], tried["matched"], tried["assigned"]) == (3, 2, 1)
    (tally,) = tried["rules"]
    assert (tally["matched"], tally["assigned"], tally["lost"], tally["skipped"]) == (2, 1, 1, None)
    assert len(await world.service.events()) == before
    assert await order(world) == [("Length of stay", 1, 1)]
    assert await world.service.rows("SELECT 1 FROM assignments") == []

    first = await outcomes(world, rule=rule("Severe", minimum_severity=80, position=1))
    assert (first["matched"], first["assigned"]) == (2, 2)


async def test_a_dry_run_of_a_set_takes_the_place_of_all_rules(world: World) -> None:
    await world.new_signal(simplified_severity=90)
    await world.new_signal(simplified_severity=40)
    await make(world, "Present", OFFICE)
    drafts = [rule("Off", enabled=False), rule("Severe", CLINICAL, minimum_severity=80), rule("All others")]
    tried = await outcomes(world, rules=drafts)
    assert [
        (tally["rule"]["name"], tally["matched"], tally["assigned"], tally["lost"]) for tally in tried["rules"]
    ] == [
        ("Off", 2, 0, 2),
        ("Severe", 1, 1, 0),
        ("All others", 2, 1, 1),
    ]
    assert {line["assignee"]["name"] for line in tried["signals"]} == {"Clinical Lead", "Nursing Lead"}
    nothing = await outcomes(world, rules=[rule("Off", enabled=False)])
    assert {line["outcome"] for line in nothing["signals"]} == {"skipped"}


async def test_a_dry_run_can_take_the_place_of_one_rule(world: World) -> None:
    await world.new_signal()
    present = await make(world, "Present", OFFICE)
    await make(world, "Behind", CLINICAL)
    tried = await outcomes(world, rule=rule("Changed"), replaces=present["id"])
    assert tried["signals"][0]["winner"] == {"id": None, "name": "Changed", "position": 1}
    narrow = await outcomes(world, rule=rule("Changed", metric_id=["no"]), replaces=present["id"])
    assert narrow["signals"] == []
    answer = await world.call(ADMIN, "POST", f"{PATH}/dry-run", {"rule": rule(), "replaces": str(uuid4())})
    assert problem(answer) == (422, "invalid")
    for body in ({}, {"rule": rule(), "rules": [rule()]}, {"rules": [rule()], "replaces": present["id"]}):
        assert problem(await world.call(ADMIN, "POST", f"{PATH}/dry-run", body)) == (422, "invalid")


async def test_a_dry_run_looks_at_the_latest_thousand_and_no_history(world: World) -> None:
    entities = [uuid4() for _ in range(1002)]
    await world.hear_signals(*(signal_event(entity, 1 + place // 400) for place, entity in enumerate(entities)))
    await world.hear_signals(signal_event(uuid4(), 9, "recorded", is_current=False))
    tried = await outcomes(world, rule=rule())
    assert (tried["signals_looked_at"], tried["assigned"]) == (1000, 1000)
    dates = [line["signal"]["detected_at"] for line in tried["signals"]]
    assert dates == sorted(dates, reverse=True)
    assert "2026-09-01T00:00:00Z" not in dates


async def test_a_dry_run_without_signals_is_empty(world: World) -> None:
    tried = await outcomes(world, rule=rule())
    assert (tried["signals_looked_at"], tried["signals"]) == (0, [])
