"""The feed as a reader gets it: whole pages, filters, who, what, on which signal, when."""

from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from shared.events.topics import COMPASS_AUTH, COMPASS_WORKFLOW
from tests.activity.events import event, example, messages
from tests.support.factories import message
from tests.support.service import ServiceUnderTest, user_id

CLINICAL, NURSING = uuid4(), uuid4()


async def get(service: ServiceUnderTest, query: str = "", role: str = "viewer") -> dict[str, Any]:
    async with service.client(role) as client:
        answer = await client.get(f"/api/feed{query}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def walk(service: ServiceUnderTest, query: str) -> list[str]:
    """The summaries on all pages."""
    found: list[str] = []
    cursor = ""
    while True:
        page = await get(service, f"?{query}{cursor}")
        found += [entry["summary"] for entry in page["events"]]
        assert page["has_more"] == (page["cursor"] is not None)
        if not page["has_more"]:
            return found
        cursor = f"&cursor={page['cursor']}"


def user_event(
    name: str, sequence: int, time: str, user: UUID = CLINICAL, kind: str = "user.updated"
) -> dict[str, Any]:
    sent = example(f"compass.{kind}.v1")
    state = sent["data"]["user"] | {"user_id": str(user), "name": name}
    return sent | {
        "id": str(uuid4()),
        "subject": str(user),
        "sequence": sequence,
        "time": time,
        "data": sent["data"] | {"user": state},
    }


async def test_an_event_as_a_person_reads_it(service: ServiceUnderTest) -> None:
    sent = example("compass.comment.added.v1")
    user = UUID(sent["actorid"])
    known = user_event("Nursing Leadership", 1, "2026-01-01T00:00:00Z", user, "user.created")
    await service.consume("activity.users", message(COMPASS_AUTH, known))
    await service.consume("activity.workflow", message(COMPASS_WORKFLOW, sent))
    page = await get(service)
    assert page["events"] == [
        {
            "id": sent["id"],
            "position": 1,
            "event_type": "comment",
            "signal_id": sent["subject"],
            "user": {"id": sent["actorid"], "name": "Nursing Leadership"},
            "signal": sent["data"]["label"],
            "summary": sent["summary"],
            "payload": sent["data"],
            "created_at": "2026-07-02T09:00:00Z",
            "read": False,
            "group": None,
        }
    ]
    assert {name: value for name, value in page.items() if name != "events"} == {
        "cursor": None,
        "has_more": False,
        "total_count": 1,
        "total_is_capped": False,
        "position": 1,
    }


async def test_a_person_has_the_name_of_that_time_whenever_it_became_known(service: ServiceUnderTest) -> None:
    times = ["2026-01-01T00:00:00Z", "2026-03-30T00:00:00Z", "2026-05-01T00:00:00Z", "2026-07-01T00:00:00Z"]
    sent = [event(actorid=CLINICAL, time=time) for time in times] + [
        event(actorid=NURSING, time="2026-08-01T00:00:00Z")
    ]
    await service.consume("activity.workflow", *messages(*sent, topic=COMPASS_WORKFLOW))
    # The events of the user come later than what the user did, out of order and doubled.
    known = [
        user_event("Clinical Lead Third", 3, "2026-06-01T00:00:00Z"),
        user_event("Clinical Lead First", 1, "2026-02-01T00:00:00Z", kind="user.created"),
        user_event("Clinical Lead Second", 2, "2026-04-01T00:00:00Z"),
        user_event("Clinical Lead First", 1, "2026-02-01T00:00:00Z", kind="user.created"),
        user_event("Clinical Lead Third", 3, "2026-09-01T00:00:00Z", kind="user.snapshot"),
    ]
    await service.consume("activity.users", *messages(*known, topic=COMPASS_AUTH))
    names = [entry["user"]["name"] for entry in (await get(service))["events"]]
    assert names == [None, "Clinical Lead Third", "Clinical Lead Second", "Clinical Lead First", "Clinical Lead First"]


async def test_a_user_event_from_the_future_is_parked_and_still_audited(service: ServiceUnderTest) -> None:
    sent = user_event("Clinical", 1, "2026-02-01T00:00:00Z") | {"type": "compass.user.updated.v2"}
    await service.consume("activity.users", message(COMPASS_AUTH, sent))
    await service.consume("activity.auth", message(COMPASS_AUTH, sent))
    (letter,) = await service.dead_letters()
    assert (letter["code"], letter["consumer_group"]) == ("future_version", "activity.users")
    assert len(await service.rows("SELECT 1 FROM audit_log")) == 1


@pytest.mark.parametrize("limit", [1, 3, 4, 100])
async def test_pages_neither_skip_nor_repeat_an_event_also_at_one_moment(service: ServiceUnderTest, limit: int) -> None:
    sent = [event(n, time=f"2026-07-01T00:00:0{n // 4}Z") for n in range(11)]
    await service.consume("activity.signals", *messages(*sent))
    for query in ("", "&event_type=new_signal", "&event_type=new_signal&event_type=comment", "&unread=true"):
        assert await walk(service, f"limit={limit}{query}") == [
            one["summary"] for one in sorted(sent, key=lambda one: (one["time"], one["id"]), reverse=True)
        ]


async def test_a_page_stays_where_it_was_when_events_come_in_between(service: ServiceUnderTest) -> None:
    await service.consume("activity.signals", *messages(*(event(n) for n in range(4))))
    first = await get(service, "?limit=2")
    await service.consume("activity.signals", *messages(event(9)))
    second = await get(service, f"?limit=2&cursor={first['cursor']}")
    assert [entry["summary"] for entry in second["events"]] == ["Event 1.", "Event 0."]


@pytest.fixture
async def mixed(service: ServiceUnderTest) -> dict[str, UUID]:
    """Twelve events: three types by turns, two signals, Clinical Lead and Nursing Lead and the system."""
    signals = {"one": uuid4(), "two": uuid4()}
    types = ["assignment", "comment", "status_change"]
    sent = []
    for n in range(12):
        actor = {"actorid": (CLINICAL, NURSING)[n % 4]} if n % 4 < 2 else {}
        subject = signals["one"] if n < 8 else signals["two"]
        sent.append(event(n, subject=subject, sequence=n + 1, feedtype=types[n % 3], **actor))
    await service.consume("activity.workflow", *messages(*sent, topic=COMPASS_WORKFLOW))
    return signals


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("signal_id={two}", [11, 10, 9, 8]),
        ("event_type=comment", [10, 7, 4, 1]),
        ("event_type=comment&event_type=assignment", [10, 9, 7, 6, 4, 3, 1, 0]),
        ("event_type=comment&event_type=comment", [10, 7, 4, 1]),
        ("event_type=insight", []),
        ("user_id={clinical}", [8, 4, 0]),
        ("from={t3}&to={t5}", [4, 3]),
        ("signal_id={one}&event_type=comment&event_type=assignment&user_id={clinical}", [4, 0]),
        ("signal_id={two}&unread=true", [11, 10, 9, 8]),
        ("event_type=comment&event_type=assignment&unread=true&from={t3}", [10, 9, 7, 6, 4, 3]),
        ("unread=false&user_id={nursing}", [9, 5, 1]),
    ],
)
async def test_filters_hold_together_page_by_page_and_in_the_count(
    service: ServiceUnderTest, mixed: dict[str, UUID], query: str, expected: list[int]
) -> None:
    times = {f"t{n}": quote(f"2026-07-01T10:00:0{n}+01:00") for n in (3, 5)}
    chosen = query.format(**mixed, **times, clinical=CLINICAL, nursing=NURSING)
    assert await walk(service, f"limit=3&{chosen}") == [f"Event {n}." for n in expected]
    page = await get(service, f"?{chosen}")
    assert (page["total_count"], page["total_is_capped"]) == (len(expected), False)


async def test_many_unread_events_are_searched_in_the_feeds_order(
    service: ServiceUnderTest, mixed: dict[str, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.activity.repository._FEW", 0)
    ids = [entry["id"] for entry in (await get(service, "?event_type=comment"))["events"]]
    async with service.client("viewer") as client:
        await client.post("/api/feed/mark-read", json={"ids": ids})
    assert await walk(service, "limit=3&unread=true&event_type=comment&event_type=assignment") == [
        f"Event {n}." for n in (9, 6, 3, 0)
    ]


async def test_the_count_stops_at_its_cap(service: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("repository", "repository_folded", "service_feed"):
        monkeypatch.setattr(f"services.activity.{module}.COUNT_CAP", 3)
    await service.consume("activity.signals", *messages(*(event(n) for n in range(5))))
    for query in ("", "?event_type=new_signal", "?unread=true", "?unread=true&event_type=new_signal"):
        page = await get(service, query)
        assert (page["total_count"], page["total_is_capped"]) == (3, True)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "signal_id=1",
        "event_type=applause",
        "user_id=%00",
        "from=2026-07-01T00:00:00",
        "from=1751328000",
        "to=0001-01-01T00:00:00%2B14:00",
        "to=2026-02-30T00:00:00Z",
        "unread=perhaps",
        "cursor=x",
        "cursor=%00",
        "cursor=WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzE0OjAwIiwiMTIzNDU2NzgtMTIzNC0xMjM0LTEyMzQtMTIzNDU2Nzg5MDEyIl0",
        "typo=1",
    ],
)
async def test_a_bad_query_is_422(service: ServiceUnderTest, query: str) -> None:
    async with service.client("viewer") as client:
        answer = await client.get(f"/api/feed?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"].startswith("/query/")


async def test_without_a_token_nothing_is_told(service: ServiceUnderTest) -> None:
    async with service.client(None) as client:
        for answer in (
            await client.get("/api/feed?limit=0"),
            await client.get("/api/feed/unread-count"),
            await client.post("/api/feed/mark-read", content=b"{"),
            await client.post("/api/feed/x/mark-read"),
        ):
            assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


async def test_every_role_reads_the_feed(service: ServiceUnderTest) -> None:
    for role in ("admin", "clinical_leadership", "nursing_leadership", "administration", "viewer"):
        assert (await get(service, role=role))["total_count"] == 0
    assert user_id("viewer") != user_id("admin")
