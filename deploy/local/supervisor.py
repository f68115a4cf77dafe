"""Restarts what dies while the stack runs, with growing pauses, and says so."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from deploy.local.errors import StackError
from deploy.local.logs import bound
from deploy.local.processes import ManagedProcess

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""Who ran so long without dying starts again with the first pause."""


class Part(Protocol):
    """One process of the stack, whatever it is."""

    @property
    def name(self) -> str: ...

    @property
    def process(self) -> ManagedProcess: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass
class _Watch:
    part: Part
    pause_seconds: float = FIRST_PAUSE_SECONDS
    started_at: float = 0.0
    restart_at: float | None = None


class Supervisor:
    """Looks after parts that have been started; `tick` is called again and again by whoever waits for something."""

    def __init__(
        self,
        parts: Sequence[Part],
        say: Callable[[str], None] = print,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._clock = clock
        self._watches = [_Watch(part, started_at=clock()) for part in parts]

    def tick(self) -> None:
        """One look at every part: note who died, restart whose pause is over, bound the logs."""
        for watch in self._watches:
            bound(watch.part.process.log_path)
            if watch.part.process.is_running:
                continue
            if watch.restart_at is None:
                self._note_death(watch)
            elif self._clock() >= watch.restart_at:
                self._restart(watch)

    def _note_death(self, watch: _Watch) -> None:
        process = watch.part.process
        if self._clock() - watch.started_at > STEADY_SECONDS:
            watch.pause_seconds = FIRST_PAUSE_SECONDS
        self._say(
            f"{watch.part.name} died ({process.exit_status}), restarting it in {watch.pause_seconds:.0f} s; "
            f"its log: {process.log_path}"
        )
        self._schedule(watch)

    def _restart(self, watch: _Watch) -> None:
        watch.restart_at = None
        watch.started_at = self._clock()
        try:
            watch.part.start()
        except (StackError, OSError) as error:  # A full disk is no reason to leave everybody else alone.
            self._say(f"{watch.part.name} could not be restarted, next try in {watch.pause_seconds:.0f} s: {error}")
            self._schedule(watch)
        else:
            self._say(f"{watch.part.name} runs again")

    def _schedule(self, watch: _Watch) -> None:
        watch.restart_at = self._clock() + watch.pause_seconds
        watch.pause_seconds = min(watch.pause_seconds * 2, LONGEST_PAUSE_SECONDS)
