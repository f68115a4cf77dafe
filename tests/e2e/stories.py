"""What the people who use it see of a signal's way, on whatever runs it: `each` gives them to a test with its place."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol
from uuid import uuid4

import pytest

from tests.e2e.api import Api, Gateway, api, id_of
from tests.support.eventually import eventually
from tests.support.factories import engine_signal


class Place(Gateway, Protocol):
    """A running system with the demo users."""

    async def send(self, signals: Iterable[dict[str, Any]]) -> None:
        """Publish as the engine does; returns when Kafka has them."""


def new_signal(**changes: Any) -> dict[str, Any]:
    """A signal of a facility that no other test knows."""
    facility = f"H{uuid4().hex[:10]}"
    return engine_signal(facility=f"Hospital {facility}", facility_id=facility, **changes)


async def feed_of(leader: Api, signal: object, expected: int) -> list[dict[str, Any]]:
    """The feed of one signal, oldest first, once it has as many events as expected."""
    page = await eventually(
        lambda: leader.get("/api/feed", signal_id=str(signal), limit=100),
        lambda page: len(page["events"]) >= expected,
    )
    assert len(page["events"]) == expected, [event["event_type"] for event in page["events"]]
    return list(reversed(page["events"]))


async def from_the_engine_to_the_feed(place: Place) -> None:
    """A signal is detected, listed, assigned, begun and read of."""
    signal, clinical, nursing = new_signal(), api(place, "clinical"), api(place, "nursing")
    await clinical.login()
    await nursing.login()
    await place.send([signal])

    page = await eventually(
        lambda: clinical.get("/api/signals", facility=signal["facility"], sort_by="priority"),
        lambda page: page["total_count"] == 1,
    )
    (listed,) = page["signals"]
    assert listed["id"] == str(id_of(signal))
    assert listed["simplified_signal_type"] == "baseline"
    assert listed["magnitude_tier"] == "severe"

    path = f"/api/signals/{listed['id']}"
    nurse = await nursing.me()
    body = {"assignee_id": nurse["id"], "role_type": "nursing_leadership", "notes": "Please look at it."}
    # The workflow service hears of the signal and of the user by itself, a moment later.
    await eventually(lambda: clinical.client.post(f"{path}/assign", json=body), lambda answer: answer.status_code < 300)
    await nursing.call("PATCH", f"{path}/status", json={"status": "in_progress"})

    events = await feed_of(clinical, listed["id"], 3)
    assert [event["event_type"] for event in events] == ["new_signal", "assignment", "status_change"]
    assert all(signal["facility"] in event["summary"] for event in events)
    assert [event["user"]["name"] if event["user"] else None for event in events] == [
        None,
        (await clinical.me())["name"],
        nurse["name"],
    ]
    seen = await eventually(
        lambda: clinical.get(path), lambda detail: detail["workflow_status"] == "in_progress", seconds=10
    )
    assert seen["assignee"]["id"] == nurse["id"]

    event = events[0]["id"]
    before = (await clinical.get("/api/feed/unread-count"))["unread_count"]
    others = (await nursing.get("/api/feed/unread-count"))["unread_count"]
    await clinical.call("POST", f"/api/feed/{event}/mark-read", 200)
    assert (await clinical.get("/api/feed/unread-count"))["unread_count"] == before - 1
    assert (await nursing.get("/api/feed/unread-count"))["unread_count"] == others


async def an_open_assignment_follows_the_newer_detection(place: Place) -> None:
    """Who has an entity's work keeps it when the entity is detected again."""
    first, admin = new_signal(), api(place, "admin")
    newer = first | {"detected_at": "2026-08-01T00:00:00Z", "percentile_rank": 99.5, "metric_value": 0.35}
    await admin.login()
    await place.send([first])
    me = await admin.me()
    body = {"assignee_id": me["id"], "role_type": "administration"}
    old, new = id_of(first), id_of(newer)
    await eventually(
        lambda: admin.client.post(f"/api/signals/{old}/assign", json=body), lambda answer: answer.status_code < 300
    )
    await place.send([newer])
    moved = await eventually(
        lambda: admin.client.get(f"/api/signals/{new}/assignment"),
        lambda answer: answer.status_code == 200 and answer.json()["status"] == "assigned",
    )
    assert moved.json()["assignee"]["id"] == me["id"]
    await admin.call("PATCH", f"/api/signals/{old}/status", 409, json={"status": "in_progress"})
    kinds = [event["event_type"] for event in await feed_of(admin, new, 2)]
    assert kinds == ["regression", "assignment"]
    page = await admin.get("/api/signals", facility=first["facility"])
    assert [row["id"] for row in page["signals"]] == [str(new)]


async def publishing_again_changes_nothing(place: Place) -> None:
    """The engine may repeat itself."""
    signals, admin = [new_signal() for _ in range(20)], api(place, "admin")
    await admin.login()
    for _ in range(3):
        await place.send(signals)
    marker = new_signal()
    await place.send([marker])
    for signal in [*signals, marker]:
        await feed_of(admin, id_of(signal), 1)


async def who_may_not(place: Place) -> None:
    """Refusals are answers, too."""
    signal, viewer = new_signal(), api(place, "viewer")
    await place.send([signal])
    await viewer.call("GET", "/api/signals", 401)
    await viewer.login()
    await eventually(
        lambda: viewer.get("/api/signals", facility=signal["facility"]), lambda page: page["total_count"] == 1
    )
    answer = await viewer.call("POST", f"/api/signals/{id_of(signal)}/assign", 403, json={})
    assert answer["code"] == "forbidden"
    nothing = await viewer.call("GET", "/api/no-such-thing", 404)
    assert nothing["status"] == 404


Story = Callable[[Place], Awaitable[None]]

STORIES: Final[tuple[Story, ...]] = (
    from_the_engine_to_the_feed,
    an_open_assignment_follows_the_newer_detection,
    publishing_again_changes_nothing,
    who_may_not,
)
each: Final = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
