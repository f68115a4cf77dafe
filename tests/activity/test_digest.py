"""The digest: to each role what it must know, from what the events said, as data and as a mail."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.activity import digest as command
from shared.events.topics import COMPASS_AUTH, COMPASS_WORKFLOW
from tests.activity.events import event, example, messages
from tests.support.service import ServiceUnderTest, user_id

NOW = datetime.now(UTC)
ME = user_id("nursing_leadership")
OTHER = uuid4()


def ago(**span: float) -> str:
    return (NOW - timedelta(**span)).isoformat()


def workflow(kind: str, **state: Any) -> dict[str, Any]:
    """An event on an assignment of its own, an hour ago, in this state."""
    sent = example(f"compass.{kind}.v1")
    more = {name: state.pop(name) for name in ("time", "actorid", "subject", "sequence") if name in state}
    data = {name: state.pop(name) for name in ("reason", "escalated_to") if name in state}
    told = sent["data"]["assignment"] | {"assignment_id": str(uuid4())} | state
    new = {"id": str(uuid4()), "subject": str(uuid4()), "sequence": 1, "time": ago(hours=1)}
    return sent | new | more | {"data": sent["data"] | data | {"assignment": told}}


def person(user: UUID, name: str = "Somebody") -> dict[str, str]:
    return {"user_id": str(user), "name": name}


async def get(service: ServiceUnderTest, role: str = "nursing_leadership", query: str = "") -> dict[str, Any]:
    async with service.client(role) as client:
        answer = await client.get(f"/api/feed/digest{query}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def tell(service: ServiceUnderTest, *sent: dict[str, Any]) -> None:
    await service.consume("activity.workflow", *messages(*sent, topic=COMPASS_WORKFLOW))
    assert await service.dead_letters() == []


def signal(feedtype: str, severity: int, tier: str = "severe", **changes: Any) -> dict[str, Any]:
    data = {"signal": {"simplified_severity": severity, "magnitude_tier": tier}}
    said = {"summary": f"{feedtype} {severity}", "time": ago(hours=2)}
    return event(feedtype=feedtype, data=data, **said | changes)


async def test_nothing_happened(service: ServiceUnderTest) -> None:
    await tell(service, signal("new_signal", 40), event(feedtype="comment", time=ago(hours=1)))
    told = await get(service)
    assert (told["is_empty"], told["role"], told["position"]) == (True, "nursing_leadership", 2)
    assert told["technical_errors"] is told["missing_sequences"] is None
    for name in ("new_critical", "regressions", "improvements", "outcomes", "assigned_to_me", "escalated_to_me"):
        assert told[name] == {"count": 0, "count_is_capped": False, "events": []}
    span = datetime.fromisoformat(told["until"]) - datetime.fromisoformat(told["since"])
    assert span == timedelta(hours=24)


async def test_what_is_critical_and_what_moved(service: ServiceUnderTest) -> None:
    await tell(
        service,
        signal("new_signal", 91),
        signal("new_signal", 99),
        signal("new_signal", 90),
        signal("new_signal", 30, "critical"),
        signal("new_signal", 95, time=ago(hours=25)),
        *(signal("regression", n) for n in range(12)),
        signal("improvement", 20),
        event(feedtype="intervention_outcome", summary="It helped.", time=ago(minutes=1)),
        event(feedtype="technical_error", summary="Broken.", time=ago(minutes=1)),
        event(sequence=3, feedtype="comment"),
    )
    told = await get(service)
    assert [found["summary"] for found in told["new_critical"]["events"]] == [
        f"new_signal {severity}" for severity in (99, 91, 30)
    ]
    assert told["regressions"]["count"] == 12
    assert [found["summary"] for found in told["regressions"]["events"]] == [
        f"regression {n}" for n in range(11, 1, -1)
    ]
    assert (told["improvements"]["count"], told["outcomes"]["events"][0]["summary"]) == (1, "It helped.")
    assert not told["is_empty"]
    admin = await get(service, "admin", f"?since={ago(hours=26).replace('+00:00', 'Z')}")
    assert admin["new_critical"]["count"] == 4
    assert (admin["technical_errors"]["count"], admin["missing_sequences"]) == (1, 2)


async def test_what_is_overdue_now(service: ServiceUnderTest) -> None:
    mine, theirs = person(ME), person(OTHER, "Omar")
    late = {"due_at": ago(days=3, hours=1), "status": "in_progress"}
    nursing = workflow("assignment.escalated", assignee=theirs, role_type="nursing_leadership", **late)
    own = workflow(
        "assignment.reminded", assignee=mine, role_type="clinical_leadership", **late | {"due_at": ago(hours=1)}
    )
    done = workflow("assignment.escalated", assignee=mine, **late)
    closed = {"assignment_id": done["data"]["assignment"]["assignment_id"]}
    await tell(
        service,
        nursing,
        own,
        workflow("assignment.escalated", assignee=theirs, role_type="administration", **late),
        done,
        workflow("status.changed", assignee=mine, **late | closed | {"status": "resolved"}, time=ago(minutes=5)),
        # Comes late, tells of an older state.
        workflow("assignment.reminded", assignee=mine, **late | closed, time=ago(hours=5)),
        workflow("assignment.escalated", assignee=mine, **late | {"snoozed_until": ago(days=-1)}),
        workflow("assignment.escalated", assignee=mine, **late | {"snoozed_until_worse": True}),
        workflow("signal.assigned", assignee=mine, due_at=ago(days=-1)),
    )
    told = (await get(service))["overdue"]
    assert told["count"] == 2
    assert [found["assignment_id"] for found in told["assignments"]] == [
        one["data"]["assignment"]["assignment_id"] for one in (nursing, own)
    ]
    first, second = told["assignments"]
    assert (first["days_overdue"], first["is_mine"], first["assignee"]["name"]) == (3, False, "Omar")
    assert first["signal"]["facility"] == "Northfield General"
    assert (second["days_overdue"], second["is_mine"]) == (0, True)
    assert [(await get(service, role))["overdue"]["count"] for role in ("admin", "viewer", "administration")] == [
        3,
        3,
        1,
    ]


async def test_a_snapshot_tells_of_assignments_too(service: ServiceUnderTest) -> None:
    await tell(service, workflow("assignment.snapshot", assignee=person(ME), status="assigned", due_at=ago(days=1)))
    assert (await get(service))["overdue"]["count"] == 1


async def test_what_was_assigned_and_escalated_to_me(service: ServiceUnderTest) -> None:
    mine = person(ME)
    given = workflow("signal.assigned", assignee=mine, actorid=str(OTHER))
    taken_back = workflow("signal.assigned", assignee=mine, actorid=str(OTHER))
    again = {"assignment_id": taken_back["data"]["assignment"]["assignment_id"]}
    escalated = workflow("assignment.escalated", assignee=person(OTHER), escalated_to=[person(uuid4()), mine])
    await tell(
        service,
        given,
        workflow("signal.assigned", assignee=mine, actorid=str(ME)),
        workflow("signal.assigned", assignee=mine, reason="carried_over"),
        workflow("signal.assigned", assignee=person(OTHER), actorid=str(ME)),
        workflow("signal.assigned", assignee=mine, actorid=str(OTHER), time=ago(days=2)),
        taken_back,
        workflow("status.changed", assignee=None, status="new", time=ago(minutes=5), **again),
        escalated,
    )
    told = await get(service)
    assert [found["id"] for found in told["assigned_to_me"]["events"]] == [given["id"]]
    assert [found["id"] for found in told["escalated_to_me"]["events"]] == [escalated["id"]]
    assert (await get(service, "viewer"))["assigned_to_me"]["count"] == 0


async def test_a_moment_in_the_future_or_none_at_all_is_422(service: ServiceUnderTest) -> None:
    async with service.client("viewer") as client:
        for since in ("2999-01-01T00:00:00Z", "yesterday", "2026-07-01T00:00:00", ""):
            assert (await client.get(f"/api/feed/digest?since={since}")).status_code == 422
    async with service.client(None) as client:
        assert (await client.get("/api/feed/digest?since=x")).status_code == 401


def user(role: str = "nursing_leadership", **changes: Any) -> dict[str, Any]:
    sent = example("compass.user.created.v1") | {"subject": str(ME), "sequence": 1}
    state = sent["data"]["user"] | {"user_id": str(ME), "name": "Nora Field", "role": role} | changes
    return sent | {"data": {"user": state, "changed": []}}


async def test_the_mail_says_it_in_plain_text(service: ServiceUnderTest) -> None:
    await service.consume("activity.auth", *messages(user(), topic=COMPASS_AUTH))
    async with service.session_maker() as session:
        nothing = await command.body(session, ME, None)
        assert nothing is not None
        assert "Nothing happened that needs you." in nothing
        assert await command.body(session, uuid4(), None) is None
    late = {"due_at": ago(days=3, hours=1), "status": "in_progress"}
    await tell(
        service,
        workflow("assignment.escalated", assignee=person(ME), **late),
        signal("new_signal", 95, summary="A line\nand another\r\n."),
        *(signal("regression", n, summary=f"Worse {n}.") for n in range(12)),
    )
    async with service.session_maker() as session:
        body = await command.body(session, ME, None)
    assert body is not None
    lines = body.split("\n")
    assert lines[0] == "Quality Compass: what Nora Field (nursing leadership) should know"
    due = f"{NOW - timedelta(days=3, hours=1):%Y-%m-%d}"
    assert f"- edBreachRate at Northfield General: was due 3 days ago ({due}), with you" in lines
    assert lines[lines.index("New critical signals: 1") + 1].startswith("- A line and another . (")
    assert "Regressions: 12" in lines
    assert "  and 2 more" in lines
    assert "Improvements" not in body


async def test_nobody_is_told_anything_who_may_no_longer_read(service: ServiceUnderTest) -> None:
    await service.consume("activity.auth", *messages(user(is_active=False), topic=COMPASS_AUTH))
    async with service.session_maker() as session:
        assert await command.body(session, ME, None) is None


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    given = command.arguments().parse_args(["--user", str(ME), "--since", "2026-07-01T08:00:00+02:00"])
    assert (given.user, given.since) == (ME, datetime(2026, 7, 1, 6, tzinfo=UTC))
    with pytest.raises(SystemExit):
        command.arguments().parse_args(["--user", str(ME), "--since", "yesterday"])
    assert "must be a date and time as in RFC 3339, with an offset" in capsys.readouterr().err
