"""All leaders in one process: told on its standard input how many there shall be, and asked what they have seen.

A command is one word and an argument per line, each answered by one line of JSON:
`users 200` has so many at work, `take` tells of the requests since the last time, `streams FILE` writes to the file
what every stream has seen up to now.
"""

import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO, Final

import gevent
import msgspec
from gevent.fileobject import FileObjectThread
from locust.env import Environment
from locust.runners import LocalRunner

from benchmarks.api_load.leaders import Leader, Refusals
from benchmarks.api_load.notes import Account, Followed, Requests

_BEGIN_PER_SECOND: Final = 20.0
_OPEN_SECONDS: Final = 120.0
_TICK_SECONDS: Final = 0.02


class Book:
    """Every request since the last look; Locust's own statistics round."""

    def __init__(self, environment: Environment) -> None:
        self._began = perf_counter()
        self._milliseconds: dict[str, array[float]] = {}
        self._failures: Counter[str] = Counter()
        self._late = array("d")
        environment.events.request.add_listener(self._note)
        environment.events.user_error.add_listener(self._note_mistake)
        gevent.spawn(self._watch)

    def _note(self, name: str, response_time: float, exception: Exception | None, **_: Any) -> None:
        if exception is not None:
            self._failures[f"{name}: {exception}"[:200]] += 1
        else:
            self._milliseconds.setdefault(name, array("d")).append(response_time)

    def _note_mistake(self, exception: Exception, **_: Any) -> None:
        """A leader stumbled over an answer that is not what the document says."""
        self._failures[f"a leader: {exception!r}"[:200]] += 1

    def _watch(self) -> None:
        """How late this process is itself: what it says of others is no better than that."""
        while True:
            due = perf_counter() + _TICK_SECONDS
            gevent.sleep(_TICK_SECONDS)
            self._late.append((perf_counter() - due) * 1000)

    def take(self, users: int) -> Requests:
        """All of it; a new page begins."""
        now = perf_counter()
        streams = [stream for _, stream in Leader.all_streams]
        taken = Requests(
            users=users,
            seconds=now - self._began,
            milliseconds={name: list(values) for name, values in self._milliseconds.items()},
            failures=dict(self._failures),
            refusals=dict(Refusals.counts),
            late=list(self._late),
            delivered=sum(len(stream.positions) for stream in streams),
            delivery_milliseconds=[value for stream in streams for value in _emptied(stream.milliseconds)],
            stream_troubles=dict(Counter(trouble for stream in streams for trouble in _emptied(stream.troubles))),
            gaps=sum(1 for stream in streams if not stream.query and not _is_dense(stream.positions)),
        )
        self._began = now
        self._milliseconds, self._failures, self._late = {}, Counter(), array("d")
        Refusals.counts.clear()
        return taken


def _emptied(values: list[Any]) -> Iterator[Any]:
    taken = values[:]
    values.clear()
    return iter(taken)


def _is_dense(positions: "array[int]") -> bool:
    """A stream of everything has every position."""
    return not positions or len(positions) == positions[-1] - positions[0] + 1


def _followed() -> list[Followed]:
    return [
        Followed(user, stream.query, stream.begun, stream.reached, list(stream.positions), stream.connections)
        for user, stream in Leader.all_streams
    ]


def _until_at_work(users: int) -> None:
    """Return once that many have opened the application and follow the feed."""
    with gevent.Timeout(_OPEN_SECONDS, TimeoutError(f"{users} leaders are not at work after {_OPEN_SECONDS:g} s")):
        while sum(stream.begun is not None for _, stream in Leader.all_streams) < users:
            gevent.sleep(0.1)


def _serve(commands: Iterable[bytes], answers: BinaryIO, runner: LocalRunner, book: Book) -> None:
    for line in commands:
        command, _, argument = line.decode().strip().partition(" ")
        answer: Any = None
        match command:
            case "users":
                runner.start(int(argument), spawn_rate=_BEGIN_PER_SECOND)
                _until_at_work(int(argument))
                answer = runner.user_count
            case "take":
                answer = book.take(runner.user_count)
            case "streams":
                Path(argument).write_bytes(msgspec.json.encode(_followed()))
            case _:
                raise ValueError(f"unknown: {command}")
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.flush()


def main(url: str, accounts_file: str) -> None:
    """Serve until the standard input ends."""
    accounts = msgspec.json.decode(Path(accounts_file).read_bytes(), type=list[Account])
    Leader.accounts.extend(enumerate(accounts))
    environment = Environment(user_classes=[Leader], host=url)
    runner = environment.create_local_runner()
    _serve(FileObjectThread(sys.stdin.fileno(), "rb", closefd=False), sys.stdout.buffer, runner, Book(environment))
    runner.quit()


if __name__ == "__main__":
    main(*sys.argv[1:])
