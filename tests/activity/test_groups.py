"""The grouped feed: a burst is one entry, and nothing that a person must see is lost in it."""

import asyncio
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from services.activity import repository_audit, repository_groups
from services.activity.consumers import SUBSCRIPTIONS
from services.activity.service import group_older_events
from shared.db import SessionMaker
from shared.events.topics import COMPASS_WORKFLOW
from shared.kafka import BatchProcessor
from tests.activity.events import event, example, messages
from tests.support.eventually import eventually
from tests.support.service import ServiceUnderTest

NORA, OMAR = uuid4(), uuid4()


def signal(number: int, severity: int, **changes: Any) -> dict[str, Any]:
    """A signal of the system's, so severe."""
    data = {"signal": {"simplified_severity": severity, "facility": "North", "metric_id": "los"}}
    return event(number, data=data, summary=f"Severity {severity}.", **changes)


def assignment(number: int, assignee: UUID, **changes: Any) -> dict[str, Any]:
    """Work for somebody."""
    state = {
        "assignment_id": str(uuid4()),
        "status": "assigned",
        "assignee": {"user_id": str(assignee), "name": "Nora"},
    }
    told = {"assignment": state, "label": {"severity": 10}}
    return event(number, feedtype="assignment", type="compass.signal.assigned.v1", data=told, **changes)


async def get(service: ServiceUnderTest, query: str = "", role: str = "viewer") -> dict[str, Any]:
    async with service.client(role) as client:
        answer = await client.get(f"/api/feed?grouped=true{query}")
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def test_a_republished_month_does_not_bury_an_assignment(service: ServiceUnderTest) -> None:
    # 5,000 in 25 seconds; the assignment comes in the middle.
    month = [signal(0, 30 + n % 60, time=f"2026-07-01T09:00:{n // 200:02}Z") for n in range(5000)]
    for start in range(0, 5000, 1000):
        await service.consume("activity.signals", *messages(*month[start : start + 1000], partition=start // 1000))
        if start == 2000:
            await service.consume("activity.workflow", *messages(assignment(12, NORA), topic=COMPASS_WORKFLOW))
    page = await get(service)
    assert [entry["event_type"] for entry in page["events"]] == ["assignment", "new_signal"]
    assert (page["total_count"], page["has_more"], page["cursor"]) == (2, False, None)
    group = page["events"][1]["group"]
    assert (group["event_count"], group["unread_count"]) == (5000, 5000)
    assert group["summary"] == "5,000 new signals."
    assert page["events"][1]["summary"] == "Severity 89."
    assert (group["opened_by"]["id"], group["opened_by"]["group"]) == (month[0]["id"], None)
    assert (group["first_at"], group["last_at"]) == ("2026-07-01T09:00:00Z", "2026-07-01T09:00:24Z")
    assert page["events"][0]["group"] is None


async def test_what_is_folded_can_be_opened_and_marked(service: ServiceUnderTest) -> None:
    sent = [signal(n, 50) for n in range(7)]
    await service.consume("activity.signals", *messages(*sent, signal(300, 60)))
    page = await get(service)
    group = page["events"][1]["group"]
    async with service.client("viewer") as client:
        seen, cursor = [], ""
        while True:
            opened = (await client.get(f"/api/feed?group_id={group['id']}&limit=3{cursor}")).json()
            seen += [entry["id"] for entry in opened["events"]]
            if not opened["has_more"]:
                break
            cursor = f"&cursor={opened['cursor']}"
        assert seen == [one["id"] for one in reversed(sent)]
        assert opened["total_count"] == 7
        await client.post(f"/api/feed/{seen[0]}/mark-read")
        assert (await get(service))["events"][1]["group"]["unread_count"] == 6
        body = {"up_to_position": group["last_position"], "filters": {"group_id": group["id"]}}
        assert (await client.post("/api/feed/mark-read", json=body)).json()["marked"] == 6
    page = await get(service)
    assert [(entry["read"], entry["position"]) for entry in page["events"]] == [(False, 8), (True, 1)]
    assert [entry["position"] for entry in (await get(service, "&unread=true"))["events"]] == [8]
    assert (await get(service, "&unread=true", "admin"))["total_count"] == 2


async def test_a_group_counts_what_is_unread_however_it_was_read(service: ServiceUnderTest) -> None:
    # Over three blocks of noted positions.
    month = [signal(0, 50, time=f"2026-07-01T09:00:{n // 100:02}Z") for n in range(2500)]
    for start in range(0, 2500, 500):
        await service.consume("activity.signals", *messages(*month[start : start + 500], partition=start // 500))

    async def unread() -> int:
        (entry,) = (await get(service))["events"]
        number: int = entry["group"]["unread_count"]
        return number

    async with service.client("viewer") as client:
        assert await unread() == 2500
        some = [month[place]["id"] for place in (1, 700, 1500, 1501, 2499)]
        await client.post("/api/feed/mark-read", json={"ids": some})
        assert await unread() == 2495
        await client.post("/api/feed/mark-read", json={"up_to_position": 1200})
        assert await unread() == 1297
        await client.post("/api/feed/mark-read", json={"up_to_position": 1502})
        assert await unread() == 997
    assert (await get(service, role="admin"))["events"][0]["group"]["unread_count"] == 2500


async def test_what_one_request_did_is_one_entry_and_each_persons_work_another(service: ServiceUnderTest) -> None:
    by_omar = {"actorid": OMAR, "correlationid": "bulk"}
    sent = [assignment(n * 40, NORA, **by_omar) for n in range(4)]
    sent += [assignment(n, OMAR, **by_omar) for n in range(3)]
    sent += [assignment(n, NORA, actorid=OMAR, correlationid=f"one by one {n}") for n in range(2)]
    sent += [assignment(n, NORA) for n in range(5)]
    sent += [event(n, feedtype="comment", actorid=NORA) for n in range(2)]
    await service.consume("activity.workflow", *messages(*sent, topic=COMPASS_WORKFLOW))
    counts = [entry["group"]["event_count"] if entry["group"] else 1 for entry in (await get(service))["events"]]
    assert sorted(counts) == [1, 1, 1, 1, 3, 4, 5]
    summaries = {entry["group"]["summary"] for entry in (await get(service))["events"] if entry["group"]}
    assert "5 assignments to Nora." in summaries


async def test_the_systems_events_of_different_kinds_or_minutes_are_kept_apart(service: ServiceUnderTest) -> None:
    kinds = [{}, {"feedtype": "regression"}, {"type": "compass.other.v1"}, {"source": "/services/other"}]
    sent = [event(minute * 60 + n, **kind) for minute in range(2) for kind in kinds for n in range(3)]
    await service.consume("activity.signals", *messages(*sent))
    page = await get(service)
    assert [entry["group"]["event_count"] for entry in page["events"]] == [3] * 8


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_pages_neither_skip_nor_repeat_while_events_arrive(service: ServiceUnderTest, limit: int) -> None:
    # Eleven minutes, in some the same moment opens two groups.
    sent = [event(60 * (n // 2), feedtype=("comment", "insight")[n % 2]) for n in range(22)]
    await service.consume("activity.signals", *messages(*sent))
    expected = [entry["id"] for entry in (await get(service, "&limit=100"))["events"]]
    seen: list[str] = []
    cursor, partition = "", 1
    while True:
        page = await get(service, f"&limit={limit}{cursor}")
        seen += [(entry["group"] or {"opened_by": entry})["opened_by"]["id"] for entry in page["events"]]
        # More of every group, earlier and later than what opened it, and groups of now.
        more = [event(60 * n + second, feedtype="comment") for n in range(11) for second in (1, 59)]
        await service.consume("activity.signals", *messages(*more, event(6000 + partition), partition=partition))
        partition += 1
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['cursor']}"
    assert seen == expected


async def test_filters_choose_groups(service: ServiceUnderTest) -> None:
    sent = [event(n * 60, feedtype="comment", actorid=NORA) for n in range(3)]
    await service.consume("activity.workflow", *messages(*sent, event(0), event(1), topic=COMPASS_WORKFLOW))
    for query, count in (
        ("&event_type=comment", 3),
        ("&event_type=new_signal", 1),
        (f"&user_id={NORA}", 3),
        (f"&user_id={OMAR}", 0),
        ("&from=2026-07-01T09:01:00Z", 2),
        ("&to=2026-07-01T09:01:00Z", 2),
    ):
        page = await get(service, query)
        assert (len(page["events"]), page["total_count"]) == (count, count), query
    async with service.client("viewer") as client:
        for wrong in (f"signal_id={uuid4()}", f"group_id={uuid4()}"):
            assert (await client.get(f"/api/feed?grouped=true&{wrong}")).status_code == 422


async def test_an_empty_feed_has_no_groups(service: ServiceUnderTest) -> None:
    page = await get(service)
    assert (page["events"], page["total_count"], page["has_more"], page["cursor"]) == ([], 0, False, None)


@pytest.mark.parametrize(
    "data",
    [
        {"signal": "x", "label": 7, "assignment": [1]},
        {"signal": {"simplified_severity": "9" * 30}, "assignment": {"assignee": {"user_id": "nobody"}}},
        {"label": {"severity": 12.5, "facility": None}, "assignment": {"assignment_id": "x", "status": {}}},
        {"assignment": {"assignment_id": str(uuid4()), "status": "assigned", "due_at": "soon", "snoozed_until": 4}},
        [],
        "text",
    ],
)
async def test_data_of_any_shape_spoils_nothing(service: ServiceUnderTest, data: Any) -> None:
    sent = [event(0, feedtype="assignment", data=data), event(1, feedtype="new_signal", data=data), event(2)]
    await service.consume("activity.workflow", *messages(*sent, topic=COMPASS_WORKFLOW))
    assert await service.dead_letters() == []
    page = await get(service)
    assert sum(entry["group"]["event_count"] if entry["group"] else 1 for entry in page["events"]) == 3


async def test_a_sentence_is_there_also_where_the_producer_sent_none(service: ServiceUnderTest) -> None:
    sent = example("compass.status.changed.v1")
    del sent["summary"]
    bare = event(0, feedtype="technical_error", data={})
    del bare["summary"]
    await service.consume("activity.workflow", *messages(bare, sent, topic=COMPASS_WORKFLOW))
    summaries = [entry["summary"] for entry in (await get(service))["events"]]
    assert summaries == ["Change of status on edBreachRate at Northfield General.", "Technical error."]


async def _record(committing: SessionMaker, *sent: dict[str, Any]) -> None:
    await BatchProcessor("activity", SUBSCRIPTIONS[0], committing)(messages(*sent))


async def test_what_older_code_added_is_grouped_by_the_running_service(committing: SessionMaker) -> None:
    await _record(committing, *(signal(n % 3 * 60, n) for n in range(9)))
    groups = "SELECT * FROM feed_groups ORDER BY id"
    async with committing() as session, session.begin():
        expected = [tuple(row) for row in await session.execute(text(groups))]
        await session.execute(text("UPDATE activity_events SET group_id = NULL, severity = NULL"))
        await session.execute(text("DELETE FROM feed_groups"))

    app: Any = SimpleNamespace(state=SimpleNamespace(session_maker=committing))
    worker = asyncio.create_task(group_older_events(app))

    async def found() -> list[tuple[Any, ...]]:
        async with committing() as session:
            return [tuple(row) for row in await session.execute(text(groups))]

    assert await eventually(found, lambda rows: len(rows) == len(expected)) == expected
    worker.cancel()


async def test_groups_are_exact_under_writers_side_by_side(committing: SessionMaker) -> None:
    async def write(partition: int) -> None:
        process = BatchProcessor("activity", SUBSCRIPTIONS[0], committing)
        for _ in range(10):
            await process(messages(*(signal(n, n) for n in range(20)), partition=partition))

    await asyncio.gather(*(write(partition) for partition in range(4)))
    async with committing() as session, session.begin():
        (row,) = (
            await session.execute(text("SELECT event_count, last_position, worst_severity FROM feed_groups"))
        ).all()
        assert tuple(row) == (800, 800, 19)
        await repository_audit.lock_head(session)
        assert await repository_groups.recount(session, UUID(int=0), UUID(int=2**128 - 1)) == 0
