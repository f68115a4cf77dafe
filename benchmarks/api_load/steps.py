"""One step of a load, which step is the last that held, and what of all of them must not be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final

from benchmarks.api_load.notes import Requests, skipped, troubles

P99_MILLISECONDS: Final = 500.0
"""Of all requests together: where one in a hundred waits longer, somebody who opens a page of five requests notices."""

REQUESTS_PER_LEADER: Final = 1.0
"""A second, with the pauses that a leader makes."""

LEAST_SHARE: Final = 0.1
"""Of the requests that so many leaders make. A machine may be slow; but where nobody asks, everything is well."""


@dataclass(frozen=True, slots=True)
class Step:
    """So many leaders for some seconds."""

    requests: Requests
    published: int
    cpu: Mapping[str, float]
    """Seconds of CPU time a second, by process."""
    statements: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    around: list[Requests] = field(default_factory=list)
    """While the leaders came, and while what was still on its way arrived: not measured, but nothing may fail."""

    @property
    def users(self) -> int:
        """Leaders at work."""
        return self.requests.users

    @property
    def all_requests(self) -> list[Requests]:
        """Those that were measured, and those around them."""
        return [self.requests, *self.around]

    @property
    def p99(self) -> float:
        """Of all requests, in milliseconds."""
        return self.requests.p99

    @property
    def holds(self) -> bool:
        """Whether nobody waits too long or in vain."""
        return not any(part.failures for part in self.all_requests) and self.p99 <= P99_MILLISECONDS


def last_that_held(steps: Sequence[Step]) -> Step | None:
    """Before the first that did not: one that holds after it has had luck."""
    return next(reversed(list(takewhile(lambda step: step.holds, steps))), None)


def complaints(steps: Sequence[Step], users: int) -> list[str]:
    """What went wrong with as many leaders as there have to be, or fewer; with more of them requests may fail.

    And what nothing is proven by: a load that was none.
    """
    asked = [step for step in steps if step.users <= users]
    every = [part for step in steps for part in step.all_requests]
    found = troubles([part for step in asked for part in step.all_requests]) + skipped(every)
    found += [
        f"there was no load: {step.users} leaders were answered {step.requests.per_second:.1f} times a second"
        for step in asked
        if step.requests.per_second < step.users * REQUESTS_PER_LEADER * LEAST_SHARE
    ]
    if not any(part.changes for part in every):
        found.append("there was no load: nobody has changed anything")
    return found
