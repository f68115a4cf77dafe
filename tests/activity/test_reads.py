"""What each user has read: exact, per user, and never of what came later."""

import random
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.activity import repository_reads
from tests.activity.events import event, messages
from tests.support.service import ServiceUnderTest, user_id

ROLES = ("admin", "nursing_leadership", "viewer")


async def add(service: ServiceUnderTest, *numbers: int, feedtype: str = "new_signal") -> list[str]:
    """Record events; answers their ids."""
    sent = [event(n, feedtype=feedtype) for n in numbers]
    await service.consume("activity.signals", *messages(*sent))
    return [one["id"] for one in sent]


async def post(service: ServiceUnderTest, role: str, path: str = "mark-read", body: Any = None) -> dict[str, Any]:
    async with service.client(role) as client:
        answer = await client.post(f"/api/feed/{path}", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def unread(service: ServiceUnderTest, role: str) -> int:
    """The count, after checking that it is the number of unread events that the feed shows, both ways."""
    async with service.client(role) as client:
        count: int = (await client.get("/api/feed/unread-count")).json()["unread_count"]
        page = (await client.get("/api/feed?unread=true&limit=100")).json()
        everything = (await client.get("/api/feed?limit=100")).json()["events"]
    assert (page["total_count"], len(page["events"])) == (count, count)
    assert [one["id"] for one in everything if not one["read"]] == [one["id"] for one in page["events"]]
    return count


async def singly(service: ServiceUnderTest) -> list[int]:
    """The positions that are noted one by one, of all users, in order."""
    rows = await service.rows(
        "SELECT 1024 * block + place AS position FROM feed_read_bits, generate_series(0, 1023) AS place "
        "WHERE get_bit(bits, place) = 1 ORDER BY 1"
    )
    return [row["position"] for row in rows]


async def flags(service: ServiceUnderTest) -> list[bool]:
    return [row["read"] for row in await service.rows("SELECT read FROM activity_events ORDER BY position")]


async def test_one_event_is_read_by_one_user(service: ServiceUnderTest) -> None:
    ids = await add(service, 1, 2, 3)
    assert await post(service, "admin", f"{ids[1]}/mark-read") == {"marked": 1, "unread_count": 2, "position": 3}
    assert await post(service, "admin", f"{ids[1]}/mark-read") == {"marked": 0, "unread_count": 2, "position": 3}
    assert [await unread(service, role) for role in ROLES] == [2, 3, 3]
    assert await flags(service) == [False, True, False]


async def test_some_events_are_read_by_id_and_unknown_ids_change_nothing(service: ServiceUnderTest) -> None:
    ids = await add(service, 1, 2, 3)
    body = {"ids": [ids[0], ids[2], ids[2], str(uuid4())]}
    assert (await post(service, "viewer", body=body))["marked"] == 2
    assert [await unread(service, role) for role in ROLES] == [3, 3, 1]
    assert await flags(service) == [True, False, True]


async def test_all_up_to_a_position_leaves_what_came_later_unread(service: ServiceUnderTest) -> None:
    await add(service, 5, 6)
    seen = (await post(service, "viewer", body={"ids": [str(uuid4())]}))["position"]
    # Later in the order of commit, though one of them happened earlier than all.
    late = await add(service, 1, 7)
    assert await post(service, "viewer", body={"up_to_position": seen}) == {
        "marked": 2,
        "unread_count": 2,
        "position": 4,
    }
    async with service.client("viewer") as client:
        shown = (await client.get("/api/feed?unread=true")).json()["events"]
    assert {one["id"] for one in shown} == set(late)
    assert [await unread(service, role) for role in ROLES] == [4, 4, 2]
    assert await flags(service) == [True, True, False, False]


async def test_a_position_beyond_the_end_is_the_end_as_it_is(service: ServiceUnderTest) -> None:
    await add(service, 1, 2)
    assert (await post(service, "viewer", body={"up_to_position": 2**63 - 1}))["marked"] == 2
    await add(service, 3)
    assert await unread(service, "viewer") == 1
    # And a lower one takes nothing back.
    assert (await post(service, "viewer", body={"up_to_position": 0}))["marked"] == 0
    assert await unread(service, "viewer") == 1


async def test_single_reads_below_the_mark_are_counted_once(service: ServiceUnderTest) -> None:
    ids = await add(service, *range(6))
    await post(service, "viewer", body={"ids": [ids[1], ids[4]]})
    assert (await post(service, "viewer", body={"up_to_position": 3}))["marked"] == 2
    assert await unread(service, "viewer") == 2
    await post(service, "viewer", body={"ids": [ids[0]]})
    assert await unread(service, "viewer") == 2


async def test_all_that_match_up_to_a_position(service: ServiceUnderTest) -> None:
    await add(service, 1, 2)
    await add(service, 3, 4, feedtype="comment")
    await add(service, 5)
    body = {"up_to_position": 4, "filters": {"event_type": ["new_signal"], "from": "2026-07-01T09:00:02Z"}}
    assert (await post(service, "viewer", body=body))["marked"] == 1
    assert await flags(service) == [False, True, False, False, False]
    assert (await post(service, "viewer", body={"up_to_position": 5, "filters": {}}))["marked"] == 4
    assert await unread(service, "viewer") == 0


@pytest.mark.parametrize(
    ("filters", "marked", "watermark", "singles"),
    [
        ({"from": "2000-01-01T00:00:00Z"}, 6, 6, 0),
        ({"event_type": ["comment", "new_signal"]}, 6, 6, 0),
        ({"to": "2026-07-01T09:00:05Z"}, 4, 4, 0),
        ({"event_type": ["new_signal"]}, 4, 2, 2),
        ({"event_type": ["comment"]}, 2, 0, 2),
        ({"event_type": ["insight"]}, 0, 0, 0),
        # Who did it is not known of any.
        ({"user_id": str(user_id("admin"))}, 0, 0, 0),
    ],
)
async def test_as_far_as_all_match_the_watermark_moves_and_only_the_rest_is_noted_singly(
    service: ServiceUnderTest, filters: dict[str, Any], marked: int, watermark: int, singles: int
) -> None:
    await add(service, 1, 2)
    await add(service, 3, 4, feedtype="comment")
    await add(service, 5, 6)
    assert (await post(service, "viewer", body={"up_to_position": 6, "filters": filters}))["marked"] == marked
    assert await unread(service, "viewer") == 6 - marked
    rows = await service.rows("SELECT coalesce(max(position), 0) AS position FROM feed_read_watermarks")
    assert rows == [{"position": watermark}]
    assert len([position for position in await singly(service) if position > watermark]) == singles
    assert (await post(service, "viewer", body={"up_to_position": 6, "filters": filters}))["marked"] == 0


async def test_users_who_read_in_any_order_have_exact_counts(service: ServiceUnderTest) -> None:
    """Against a plain model: a set of read events per user."""
    seed = random.Random(7)  # noqa: S311 - the same in every run
    stored: list[str] = []
    read: dict[str, set[str]] = {role: set() for role in ROLES}
    for step in range(40):
        role, kind = seed.choice(ROLES), seed.choice(["add", "one", "some", "all"])
        if kind == "add" or not stored:
            stored += await add(service, *(seed.randrange(50) for _ in range(seed.randrange(1, 4))))
        elif kind == "one":
            read[role].add(chosen := seed.choice(stored))
            await post(service, role, f"{chosen}/mark-read")
        elif kind == "some":
            some = set(seed.choices(stored, k=3))
            assert (await post(service, role, body={"ids": list(some)}))["marked"] == len(some - read[role])
            read[role] |= some
        else:
            up_to = seed.randrange(len(stored) + 1)
            new = set(stored[:up_to]) - read[role]
            assert (await post(service, role, body={"up_to_position": up_to}))["marked"] == len(new), step
            read[role] |= new
        for each in ROLES:
            assert await unread(service, each) == len(stored) - len(read[each])
    assert await flags(service) == [any(one in read[role] for role in ROLES) for one in stored]


async def test_the_read_column_follows_by_and_by_where_thousands_were_marked_at_once(
    service: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.activity.service_reads._SWEEP_STEP", 2)
    await add(service, *range(5))
    await post(service, "viewer", body={"up_to_position": 5})
    assert await flags(service) == [True, True, False, False, False]
    async with service.session_maker() as session, session.begin():
        assert await repository_reads.sweep(session, 2) is True
        assert await repository_reads.sweep(session, 2) is False
    assert await flags(service) == [True] * 5


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"ids": []},
        {"ids": ["x"]},
        {"ids": [1]},
        {"ids": [str(UUID(int=n)) for n in range(501)]},
        {"ids": [str(UUID(int=1))], "up_to_position": 1},
        {"ids": [str(UUID(int=1))], "filters": {}},
        {"filters": {}},
        {"up_to_position": -1},
        {"up_to_position": 2**63},
        {"up_to_position": True},
        {"up_to_position": 1.0},
        {"up_to_position": "1"},
        {"up_to_position": 1, "filters": {"event_type": "comment"}},
        {"up_to_position": 1, "filters": {"event_type": ["\0"]}},
        {"up_to_position": 1, "filters": {"from": 1751328000}},
        {"up_to_position": 1, "filters": {"unread": True}},
        {"up_to_position": 1, "typo": 1},
    ],
)
async def test_a_bad_body_is_422(service: ServiceUnderTest, body: Any) -> None:
    async with service.client("viewer") as client:
        answer = await client.post("/api/feed/mark-read", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"].startswith("/body")


async def test_an_unknown_event_is_404_and_a_bad_id_422(service: ServiceUnderTest) -> None:
    async with service.client("viewer") as client:
        assert (await client.post(f"/api/feed/{uuid4()}/mark-read")).status_code == 404
        assert (await client.post("/api/feed/1/mark-read")).status_code == 422


async def test_marking_by_a_filter_again_is_nothing_new(service: ServiceUnderTest) -> None:
    # The hole at the beginning keeps all that follows from the watermark.
    await add(service, 0, feedtype="comment")
    await add(service, *range(1, 6))
    body = {"up_to_position": 5, "filters": {"event_type": ["new_signal"]}}
    assert (await post(service, "viewer", body=body))["marked"] == 4
    assert await unread(service, "viewer") == 2
    assert await flags(service) == [False, True, True, True, True, False]
    assert (await post(service, "viewer", body=body))["marked"] == 0


async def test_the_watermark_rises_over_what_was_read_one_by_one(service: ServiceUnderTest) -> None:
    stored = await add(service, *range(7))
    mark = "SELECT coalesce(max(position), 0) AS position FROM feed_read_watermarks"
    for number, position in {1: 0, 2: 0, 0: 3, 4: 3, 3: 5, 6: 5, 5: 7}.items():
        await post(service, "viewer", f"{stored[number]}/mark-read")
        assert (await service.rows(mark))[0]["position"] == position
    assert await unread(service, "viewer") == 0
    assert await flags(service) == [True] * 7
