"""A load's readers see every event of a stream, however it is cut into pieces, and their judge misses none."""

from collections.abc import AsyncIterator
from random import Random
from uuid import UUID, uuid4

import asyncpg
import pytest

from benchmarks.api_load import judging
from benchmarks.api_load.judging import heard_all, judge
from benchmarks.api_load.notes import Followed
from benchmarks.api_load.streams import Chunks, Stream
from benchmarks.publishing import Plan
from deploy.local.postgres import EmbeddedPostgres

OPENING = b"retry: 1000\nid: 40\n\n"
HEARTBEAT = b": heartbeat\nid: 49\n\n"
EVENTS = b"".join(
    b'id: %d\nevent: activity\ndata: {"summary":"id: 7","created_at":"2026-11-23T10:00:00.5Z","read":false}\n\n'
    % number
    for number in (41, 44, 48)
)


def noise(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - to be the same again


def chunked(body: bytes, random: Random) -> bytes:
    """As servers send it, in pieces of any size."""
    pieces = []
    while body:
        size = random.randint(1, 90)
        piece, body = body[:size], body[size:]
        pieces.append(b"%x\r\n%s\r\n" % (len(piece), piece))
    return b"".join([*pieces, b"0\r\n\r\n"])


class Connection:
    """What a socket gives, in other pieces."""

    def __init__(self, data: bytes, random: Random) -> None:
        self._data = data
        self._random = random

    def recv(self, _: int) -> bytes:
        size = self._random.randint(1, 70)
        data, self._data = self._data[:size], self._data[size:]
        return data


@pytest.mark.parametrize("seed", range(30))
def test_every_event_is_noted_wherever_the_stream_is_cut(seed: int) -> None:
    random = noise(seed)
    stream = Stream("http://127.0.0.1:1", "", lambda: "")
    stream.follow(Connection(chunked(OPENING + EVENTS + HEARTBEAT, random), random), Chunks(b""))
    assert (stream.begun, list(stream.positions), stream.reached) == (40, [41, 44, 48], 49)
    assert stream.troubles == []


def test_a_stream_that_is_cut_says_so_and_resumes_after_what_was_whole() -> None:
    stream = Stream("http://127.0.0.1:1", "", lambda: "")
    body = OPENING + EVENTS[:-10]
    with pytest.raises(ConnectionError):
        stream.follow(Connection(b"%x\r\n%s\r\n" % (len(body), body), noise(1)), Chunks(b""))
    assert (list(stream.positions), stream.reached) == ([41, 44], 44)


def test_only_the_end_of_a_token_is_an_ordinary_end() -> None:
    stream = Stream("http://127.0.0.1:1", "", lambda: "")
    for code in (b"expired_token", b"too_slow"):
        body = b'event: end\ndata: {"code": "%s", "detail": "So it is."}\n\n' % code
        stream.follow(Connection(chunked(body, noise(1)), noise(1)), Chunks(b""))
    (trouble,) = stream.troubles
    assert "too_slow" in trouble


USER = uuid4()


@pytest.fixture
async def feed(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """A connection that sees a feed of its own: ten comments, of which every third is this user's, and an insight."""
    postgres.create_database("streams")
    connection = await asyncpg.connect(postgres.database_url("postgres", postgres._secrets.postgres, "streams"))
    await connection.execute("CREATE TABLE activity.activity_events (position bigint, event_type text, user_id uuid)")
    rows: list[tuple[int, str, UUID | None]] = [
        (position, "comment", USER if position % 3 == 0 else None) for position in range(1, 11)
    ]
    await connection.copy_records_to_table(
        "activity_events", records=[*rows, (11, "insight", None)], schema_name="activity"
    )
    yield connection
    await connection.close()
    postgres.drop_database("streams")


def followed(query: str, positions: list[int], begun: int = 2, reached: int = 11) -> Followed:
    return Followed("user", query, begun, reached, positions, 1)


async def test_what_a_stream_brought_is_held_against_the_feed(feed: asyncpg.Connection) -> None:
    everything = list(range(3, 12))
    good = [
        followed("", everything),
        followed("?event_type=insight&event_type=comment", everything),
        followed("?event_type=insight", [11]),
        followed(f"?user_id={USER}", [3, 6, 9]),
        followed("", [], begun=11),
    ]
    brought = await judge(good, 11, feed)
    assert (brought.complaints, brought.expected, brought.seen) == ([], 22, 22)
    for wrong, complaint in (
        ([3, 4, 5, 7, 8, 9, 10, 11], "1 missing [6]"),
        ([3, 4, 5, 6, 6, 7, 8, 9, 10, 11], "1 doubled"),
        ([3, 4, 6, 5, 7, 8, 9, 10, 11], "out of order"),
        ([2, *everything], "1 that do not fit [2]"),
    ):
        (found,) = (await judge([*good, followed("", wrong)], 11, feed)).complaints
        assert complaint in found
    (found,) = (await judge([*good, followed("?event_type=insight", [], reached=10)], 11, feed)).complaints
    assert found == "?event_type=insight: reached 10 of 11"
    (found,) = (await judge([*good, Followed("user", "", None, None, [], 0)], 11, feed)).complaints
    assert "never began" in found


async def test_streams_that_all_stand_still_at_the_same_place_are_behind_the_feed(feed: asyncpg.Connection) -> None:
    everybody = [
        followed("", list(range(3, 11)), reached=10),
        followed(f"?user_id={USER}", [3, 6, 9], reached=10),
    ]
    assert (await judge(everybody, 11, feed)).complaints == [
        "everything: reached 10 of 11",
        f"?user_id={USER}: reached 10 of 11",
    ]
    # One who has not heard of what came after the end was read is not behind it.
    assert (await judge([*everybody, followed("", list(range(3, 12)))], 10, feed)).complaints == []


async def test_the_end_of_the_feed_is_told_when_the_patience_ends(
    feed: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Streams:
        reached = 10

        async def followed(self) -> list[Followed]:
            return [followed("", list(range(3, self.reached + 1)), reached=self.reached)]

    class Moving(Streams):
        async def followed(self) -> list[Followed]:
            found = await super().followed()
            self.reached += 1
            return found

    _, head = await heard_all(Moving(), feed)
    assert head == 11
    monkeypatch.setattr(judging, "_HEARD_SECONDS", -1.0)
    (one,), head = await heard_all(Streams(), feed)
    assert (one.reached, head) == (10, 11)
    assert (await judge([one], head, feed)).complaints == ["everything: reached 10 of 11"]


def test_a_plan_counts_its_detections() -> None:
    for signals, detections in ((3, 3), (4, 4), (6, 4), (8, 4), (9, 5), (13, 8), (16, 8)):
        plan = Plan(signals=signals, per_second=1, entities=4)
        messages = list(plan.messages())
        assert len(messages) == signals
        named = {
            (message.key, message.value.partition(b'"detected_at":')[2][:30], message.metric_id) for message in messages
        }
        assert len(named) == plan.detections == detections
