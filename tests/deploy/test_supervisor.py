"""Restarts with growing pauses, on a clock that the tests move."""

import errno
import sys
from pathlib import Path

import pytest

from deploy.local.errors import StackError
from deploy.local.processes import Command, ManagedProcess, poll_until
from deploy.local.supervisor import LONGEST_PAUSE_SECONDS, STEADY_SECONDS, Supervisor


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Fragile:
    """A part that ends by itself as soon as it was started."""

    name = "fragile"

    def __init__(self, state_dir: Path) -> None:
        self.process = ManagedProcess(self.name, Command([sys.executable, "-c", "raise SystemExit(3)"]), state_dir)
        self.starts = 0
        self.refusal: Exception | None = None

    def start(self) -> None:
        self.starts += 1
        if self.refusal is not None:
            raise self.refusal
        self.process.start()
        assert poll_until(lambda: not self.process.is_running, 20)

    def stop(self) -> None:
        self.process.stop()


def watched(state_dir: Path) -> tuple[Fragile, Supervisor, Clock, list[str]]:
    part, clock, said = Fragile(state_dir), Clock(), list[str]()
    part.start()
    return part, Supervisor([part], said.append, clock), clock, said


def test_what_died_is_restarted_after_its_pause_and_said_so(tmp_path: Path) -> None:
    part, supervisor, clock, said = watched(tmp_path)

    supervisor.tick()
    assert said == [f"fragile died (exit status 3), restarting it in 1 s; its log: {part.process.log_path}"]
    supervisor.tick()
    assert part.starts == 1, "the pause is not over"

    clock.now += 1.0
    supervisor.tick()
    assert part.starts == 2
    assert said[-1] == "fragile runs again"


def test_the_pauses_grow_to_a_limit(tmp_path: Path) -> None:
    part, supervisor, clock, _ = watched(tmp_path)
    pauses = []
    for _ in range(7):
        supervisor.tick()
        before = clock.now
        starts = part.starts
        while part.starts == starts:
            clock.now += 1.0
            supervisor.tick()
        pauses.append(clock.now - before)

    assert pauses == [1, 2, 4, 8, 16, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]


def test_who_ran_steadily_starts_with_the_first_pause_again(tmp_path: Path) -> None:
    _, supervisor, clock, said = watched(tmp_path)
    supervisor.tick()
    clock.now += 1.0
    supervisor.tick()

    clock.now += STEADY_SECONDS + 1
    supervisor.tick()

    assert "restarting it in 1 s" in said[-1]


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (StackError("its port is in use"), "its port is in use"),
        (OSError(errno.ENOSPC, "No space left on device"), "[Errno 28] No space left on device"),
    ],
)
def test_a_restart_that_fails_is_tried_again(tmp_path: Path, refusal: Exception, words: str) -> None:
    part, supervisor, clock, said = watched(tmp_path)
    supervisor.tick()
    part.refusal = refusal
    clock.now += 1.0
    supervisor.tick()
    assert said[-1] == f"fragile could not be restarted, next try in 2 s: {words}"

    part.refusal = None
    clock.now += 2.0
    supervisor.tick()
    assert said[-1] == "fragile runs again"
