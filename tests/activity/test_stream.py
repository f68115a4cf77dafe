"""The feed live: on every instance, in the order of commit, without a gap or a repetition when a reader resumes."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from services.activity import service_hub, service_stream
from services.activity.consumers import SUBSCRIPTIONS
from services.activity.repository_filters import FeedFilters
from services.activity.schemas import FeedEvent
from shared.db import SessionMaker
from shared.events.topics import COMPASS_AUTH
from shared.events.vocabulary import ActivityEventType
from shared.kafka import BatchProcessor
from tests.activity.events import event, example
from tests.activity.streams import Instance, Stream, record
from tests.support.eventually import eventually
from tests.support.factories import message
from tests.support.service import token, user_id


async def test_every_instance_hears_of_every_event_at_once(
    monkeypatch: pytest.MonkeyPatch, committing: SessionMaker, instances: Sequence[Instance]
) -> None:
    # Longer than the test waits: what comes was notified.
    monkeypatch.setattr(service_hub, "_POLL_SECONDS", 60.0)
    one, two = instances
    user = example("compass.user.created.v1") | {"time": "2026-01-01T00:00:00Z"}
    learn = next(found for found in SUBSCRIPTIONS if found.group == "activity.users")
    await BatchProcessor("activity", learn, committing)([message(COMPASS_AUTH, user)])
    await record(committing, event(0))
    async with one.stream() as here, two.stream() as there:
        # Stored in an order that is not that of their time.
        await record(committing, event(3, actorid=user["subject"]), event(1))
        await record(committing, event(2, feedtype=None), event(4))
        for stream in (here, there):
            seen = await stream.events(3)
            assert [found["summary"] for found in seen] == ["Event 3.", "Event 1.", "Event 4."]
            assert [found["position"] for found in seen] == [2, 3, 4]
        # Again, since the first look after the start may have come by itself.
        await record(committing, event(5))
        for stream in (here, there):
            seen += await stream.events(1)
    async with httpx.AsyncClient(base_url=one.url, headers={"authorization": f"Bearer {token('viewer')}"}) as client:
        shown = (await client.get("/api/feed")).json()["events"]
    assert sorted(shown[:-1], key=lambda found: found["position"]) == seen[:4]
    assert seen[3] == seen[4]
    assert seen[0]["user"] == {"id": user["subject"], "name": user["data"]["user"]["name"]}


async def test_a_reader_that_resumes_anywhere_has_each_event_once(
    committing: SessionMaker, instances: Sequence[Instance]
) -> None:
    total = 400

    async def write() -> None:
        for start in range(0, total, 10):
            await record(committing, *(event(-n, summary=str(n)) for n in range(start, start + 10)))
            await asyncio.sleep(0)

    async def read() -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = []
        turn = 0
        while len(seen) < total:
            async with instances[turn % 2].stream(after=len(seen)) as stream:
                seen += await stream.events(min(7 + 13 * (turn % 3), total - len(seen)))
            turn += 1
        return seen

    _, seen, again = await asyncio.gather(write(), read(), read())
    for found in (seen, again):
        assert [entry["position"] for entry in found] == list(range(1, total + 1))
        assert [entry["summary"] for entry in found] == [str(n) for n in range(total)]


async def test_what_was_missed_is_shown_as_the_caller_has_read_it(
    committing: SessionMaker, instances: Sequence[Instance]
) -> None:
    sent = [event(n) for n in range(3)]
    await record(committing, *sent)
    async with httpx.AsyncClient(base_url=instances[0].url) as client:
        headers = {"authorization": f"Bearer {token('viewer')}"}
        await client.post(f"/api/feed/{sent[1]['id']}/mark-read", headers=headers)
    async with instances[0].stream(after=0) as stream:
        assert [found["read"] for found in await stream.events(3)] == [False, True, False]


async def test_filters_hold_for_what_was_missed_and_for_what_comes(
    committing: SessionMaker, instances: Sequence[Instance]
) -> None:
    actor, signal = uuid4(), uuid4()

    def some(first: int) -> list[dict[str, Any]]:
        return [
            event(first, subject=signal, sequence=first + 1, feedtype="comment", actorid=actor),
            event(first + 1, subject=signal, sequence=first + 2, feedtype="assignment"),
            event(first + 2, feedtype="comment"),
        ]

    expected = {
        f"?signal_id={signal}": [0, 1, 3, 4],
        "?event_type=comment": [0, 2, 3, 5],
        "?event_type=assignment&event_type=insight": [1, 4],
        f"?user_id={actor}": [0, 3],
        f"?signal_id={signal}&event_type=comment": [0, 3],
    }
    await record(committing, *some(0))
    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(instances[n % 2].stream(query, after=0)) for n, query in enumerate(expected)
        ]
        await record(committing, *some(3))
        for stream, numbers in zip(streams, expected.values(), strict=True):
            assert [found["summary"] for found in await stream.events(len(numbers))] == [f"Event {n}." for n in numbers]


async def test_a_heartbeat_tells_how_far_the_reader_is(
    committing: SessionMaker, instances: Sequence[Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_stream, "_HEARTBEAT_SECONDS", 0.3)
    async with instances[0].stream("?event_type=insight") as stream:
        assert await stream.block() == [": heartbeat", "id: 0"]
        await record(committing, event(1), event(2))

        async def block() -> list[str]:
            return await stream.block()

        await eventually(block, lambda found: found == [": heartbeat", "id: 2"])


async def test_the_stream_ends_when_the_token_expires(instances: Sequence[Instance]) -> None:
    expires = datetime.now(UTC) + timedelta(seconds=1)
    async with instances[0].stream(exp=int(expires.timestamp()) + 1) as stream:
        kind, data = await stream.block()
        assert (kind, json.loads(data.removeprefix("data: "))["code"]) == ("event: end", "expired_token")
        assert await stream.block() == []
        assert datetime.now(UTC) >= expires


async def test_the_stream_ends_soon_after_the_session_was_revoked(
    committing: SessionMaker, instances: Sequence[Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_stream, "_LOOK_AT_TOKEN_SECONDS", 0.2)
    session_id = uuid4()
    async with instances[0].stream(sid=str(session_id)) as stream, instances[0].stream() as other:
        async with committing() as session, session.begin():
            await session.execute(
                text(
                    "INSERT INTO access_revocations (user_id, session_id, issued_before, until) "
                    "VALUES (:user, :session, now() + interval '1 hour', now() + interval '1 hour')"
                ),
                {"user": user_id("viewer"), "session": session_id},
            )
        await instances[0].app.state.access.refresh()
        kind, data = await stream.block()
        assert (kind, json.loads(data.removeprefix("data: "))["code"]) == ("event: end", "revoked_token")
        await record(committing, event(1))
        assert len(await other.events(1)) == 1


async def test_a_lost_connection_to_the_database_is_made_anew_and_loses_no_event(
    committing: SessionMaker, instances: Sequence[Instance]
) -> None:
    async def listeners(end: bool = False) -> set[int]:
        columns = "pid, pg_terminate_backend(pid)" if end else "pid"
        query = (
            f"SELECT {columns} FROM pg_stat_activity WHERE application_name = :name AND datname = current_database()"  # noqa: S608
        )
        async with committing() as session:
            return {row.pid for row in await session.execute(text(query), {"name": "compass-activity-stream"})}

    async with instances[0].stream() as stream:
        await record(committing, event(1))
        assert len(await stream.events(1)) == 1
        ended = await listeners(end=True)
        await record(committing, event(2), event(3))
        assert [found["position"] for found in await stream.events(2)] == [2, 3]
        await eventually(listeners, lambda now: len(now) == len(ended) and not now & ended)


async def test_a_reader_that_was_sent_nothing_yet_can_resume(
    committing: SessionMaker, instances: Sequence[Instance]
) -> None:
    await record(committing, event(1))
    headers = {"authorization": f"Bearer {token('viewer')}"}
    async with (
        httpx.AsyncClient(base_url=instances[0].url) as client,
        client.stream("GET", "/api/feed/stream", headers=headers) as answer,
    ):
        assert await Stream(answer.aiter_lines()).block() == ["retry: 1000", "id: 1"]


async def test_a_reader_that_is_far_behind_catches_up_while_events_come(
    committing: SessionMaker, instances: Sequence[Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (service_stream, service_hub):
        monkeypatch.setattr(module, "PAGE", 7)
    monkeypatch.setattr(service_hub, "_LONGEST_QUEUE", 20)
    await record(committing, *(event(n) for n in range(100)))

    async def write() -> None:
        for n in range(20):
            await record(committing, event(100 + n))

    async def positions(query: str) -> list[int]:
        seen: list[int] = []
        while not seen or seen[-1] < 120:
            async with instances[0].stream(query, after=seen[-1] if seen else 0) as stream:
                while (block := await stream.block()) and (not seen or seen[-1] < 120):
                    if block[0].startswith("id: ") and len(block) == 3:
                        seen.append(int(block[0].removeprefix("id: ")))
        return seen

    _, seen, filtered = await asyncio.gather(write(), positions(""), positions("?event_type=new_signal"))
    assert seen == filtered == list(range(1, 121))


async def test_a_user_has_so_many_streams_and_no_more(instances: Sequence[Instance], committing: SessionMaker) -> None:
    place = instances[0]
    place.app.state.settings = place.app.state.settings.model_copy(
        update={"stream_limit_per_user": 2, "stream_limit": 3}
    )
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=place.url))

        async def status(role: str) -> tuple[int, str]:
            answer = await client.get("/api/feed/stream", headers={"authorization": f"Bearer {token(role)}"})
            assert answer.headers["retry-after"] == "5"
            assert answer.headers["content-type"] == "application/problem+json"
            return answer.status_code, answer.json()["code"]

        first = await stack.enter_async_context(AsyncExitStack())
        await first.enter_async_context(place.stream())
        await stack.enter_async_context(place.stream())
        assert await status("viewer") == (429, "too_many_streams")
        await stack.enter_async_context(place.stream(role="admin"))
        assert await status("admin") == (503, "too_many_streams")
        # The other instance counts for itself, and one that has ended no longer counts.
        await stack.enter_async_context(instances[1].stream())
        await first.aclose()

        async def streams() -> int:
            return place.app.state.hub._streams.total()  # type: ignore[no-any-return]

        await eventually(streams, lambda count: count == 2)
        async with place.stream() as again:
            await record(committing, event(1))
            assert len(await again.events(1)) == 1


async def test_readers_are_sent_away_at_once_when_the_service_stops(
    committing: SessionMaker, instances: Sequence[Instance]
) -> None:
    stopping, going_on = instances
    async with stopping.stream() as idle, stopping.stream(f"?signal_id={uuid4()}") as filtered:
        await record(committing, event(1))
        assert [found["position"] for found in await idle.events(1)] == [1]
        stopping.app.state.stopping.set()
        for stream in (idle, filtered):
            kind, data = await stream.block()
            assert (kind, json.loads(data.removeprefix("data: "))["code"]) == ("event: reconnect", "stopping")
            assert await stream.block() == []
    await record(committing, event(2))
    async with going_on.stream(after=1) as stream:
        assert [found["position"] for found in await stream.events(1)] == [2]


@pytest.mark.parametrize("pieces", [1, 2, 14])
async def test_a_reader_that_catches_up_is_sent_away_too_when_the_service_stops(
    committing: SessionMaker, instances: Sequence[Instance], monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    monkeypatch.setattr(service_stream, "PAGE", 7)
    await record(committing, *(event(n) for n in range(100)))
    state = instances[0].app.state
    hub = service_hub.Hub()
    hub.position = 100
    place = service_stream.Place(hub, committing, state.access, state.settings)
    mine = token("viewer")
    frames = service_stream.Follow(place, state.access.verify(mine), mine, FeedFilters(), 0).frames()
    # It begins, and is brought seven events further each time.
    sent = [await anext(frames) for _ in range(pieces)]
    hub.stopping = True
    assert (await anext(frames)).startswith(b"event: reconnect")
    assert [piece async for piece in frames] == []
    # What it has seen is where it goes on, on another instance.
    assert f"\nid: {7 * (pieces - 1)}\n".encode() in b"\n" + sent[-1]


async def test_a_reader_that_takes_nothing_is_cut_off(committing: SessionMaker, instances: Sequence[Instance]) -> None:
    place = instances[0]
    place.app.state.settings = place.app.state.settings.model_copy(update={"stream_stalled_seconds": 0.3})
    host, port = place.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(
        f"GET /api/feed/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token('viewer')}\r\n\r\n".encode()
    )
    await reader.readuntil(b"retry: 1000")

    async def streams() -> int:
        await record(committing, *(event(n, data={"text": "x" * 100_000}) for n in range(20)))
        return place.app.state.hub._streams.total()  # type: ignore[no-any-return]

    await eventually(streams, lambda count: count == 0, seconds=30)
    writer.close()


async def test_a_reader_that_leaves_is_forgotten(instances: Sequence[Instance]) -> None:
    hub = instances[0].app.state.hub
    async with instances[0].stream(), instances[0].stream(f"?signal_id={uuid4()}"):
        assert len(hub._readers) == 2

    async def readers() -> int:
        return len(hub._readers)

    await eventually(readers, lambda count: count == 0)


def stored(position: int) -> FeedEvent:
    return FeedEvent(
        id=uuid4(),
        position=position,
        event_type=ActivityEventType.COMMENT,
        signal_id=UUID(int=1),
        user=None,
        signal=None,
        summary="Something.",
        payload={},
        created_at=datetime.now(UTC),
        read=False,
    )


async def test_a_reader_that_is_too_slow_is_given_up_and_holds_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_hub, "_LONGEST_QUEUE", 3)
    reader = service_hub.Reader(FeedFilters(), after=1)
    for position in range(1, 5):
        reader.offer(stored(position), b"%d" % position)
    assert (reader.too_slow, await reader.take(0)) == (False, b"234")
    for position in range(5, 9):
        reader.offer(stored(position), b"%d" % position)
    assert (reader.too_slow, await reader.take(0)) == (True, b"")


@pytest.mark.parametrize("last", ["x", "-1", "2", "1" * 30, "1.0", ""])
async def test_a_position_that_the_feed_does_not_have_is_422(
    committing: SessionMaker, instances: Sequence[Instance], last: str
) -> None:
    await record(committing, event(1))
    headers = {"authorization": f"Bearer {token('viewer')}", "last-event-id": last}
    async with httpx.AsyncClient(base_url=instances[0].url, headers=headers) as client:
        answer = await client.get("/api/feed/stream")
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_position")


async def test_who_asks_comes_before_what_is_asked(instances: Sequence[Instance]) -> None:
    async with httpx.AsyncClient(base_url=instances[0].url) as client:
        assert (await client.get("/api/feed/stream?typo=1")).status_code == 401
        headers = {"authorization": f"Bearer {token('viewer')}"}
        assert (await client.get("/api/feed/stream?typo=1", headers=headers)).status_code == 422
