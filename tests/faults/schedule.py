"""Which faults a seed brings, to whom and when. Pure: the same seed gives the same schedule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

SERVICES: Final = ("signals", "workflow", "activity", "auth")
BUSY_SERVICES: Final = ("signals", "workflow", "activity")
"""Those that consume and relay all the time; most faults are theirs."""
SERVERS: Final = ("postgres", "kafka")

LOAD_SECONDS: Final = 24.0
"""How long the load goes on; faults begin within it."""


class Kind(StrEnum):
    """What can go wrong."""

    KILL = "kill"
    PAUSE = "pause"
    BACKEND_KILL = "backend-kill"
    BACKEND_PAUSE = "backend-pause"
    CUT = "cut"
    SILENCE = "silence"
    DELAY = "delay"
    RESTART = "restart"
    DISK_FULL = "disk-full"
    CLOCK_STEP = "clock-step"
    SECOND_INSTANCE = "second-instance"
    REBALANCE_STORM = "rebalance-storm"
    STALL_AND_KILL = "stall-and-kill"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `at` seconds after the load began, for `seconds` where it lasts.

    `target` is a process (`signals`, `postgres`), the service whose backend it is, or a link (`signals-kafka`).
    `amount` is the delay in seconds of either direction, the clock's step in seconds, or how often members join.
    """

    at: float
    kind: Kind
    target: str
    seconds: float = 0.0
    amount: float = 0.0

    def __str__(self) -> str:
        lasting = f" {self.seconds:g}s" if self.seconds else ""
        amount = f" ({self.amount:+g})" if self.amount else ""
        return f"{self.at:g}s {self.kind} {self.target}{lasting}{amount}"


def links() -> tuple[str, ...]:
    """Every pair with a proxy between."""
    servers = [f"{service}-{server}" for service in SERVICES for server in SERVERS]
    return (*servers, *(f"gateway-{service}" for service in SERVICES))


def _service(random: Random) -> str:
    return random.choice((*BUSY_SERVICES, *SERVICES))


def _link(random: Random) -> str:
    far = random.choice((*SERVERS, *SERVERS, "gateway"))
    return f"gateway-{_service(random)}" if far == "gateway" else f"{_service(random)}-{far}"


def _kill(random: Random, at: float) -> Fault:
    return Fault(at, Kind.KILL, random.choice((_service(random), _service(random), *SERVERS)))


def _pause(random: Random, at: float) -> Fault:
    # Of 1 to 30 seconds the shorter ones come oftener: what a long one does beyond any time-out is always the same.
    seconds = round(min(30.0, 1.0 + random.expovariate(1 / 7)), 1)
    return Fault(at, Kind.PAUSE, random.choice((_service(random), _service(random), *SERVERS)), seconds)


def _backend_kill(random: Random, at: float) -> Fault:
    return Fault(at, Kind.BACKEND_KILL, _service(random))


def _backend_pause(random: Random, at: float) -> Fault:
    return Fault(at, Kind.BACKEND_PAUSE, _service(random), round(random.uniform(1, 8), 1))


def _cut(random: Random, at: float) -> Fault:
    return Fault(at, Kind.CUT, _link(random))


def _silence(random: Random, at: float) -> Fault:
    return Fault(at, Kind.SILENCE, _link(random), round(random.uniform(1, 10), 1))


def _delay(random: Random, at: float) -> Fault:
    return Fault(at, Kind.DELAY, _link(random), round(random.uniform(3, 10), 1), round(random.uniform(0.02, 0.3), 2))


def _restart(random: Random, at: float) -> Fault:
    return Fault(at, Kind.RESTART, random.choice(SERVERS))


def _disk_full(random: Random, at: float) -> Fault:
    return Fault(at, Kind.DISK_FULL, random.choice(SERVERS), round(random.uniform(3, 8), 1))


def _clock_step(random: Random, at: float) -> Fault:
    step = random.choice((-1, 1)) * random.choice((20, 120, 900, 7200))
    return Fault(at, Kind.CLOCK_STEP, random.choice(SERVICES), round(random.uniform(3, 10), 1), step)


def _second_instance(random: Random, at: float) -> Fault:
    return Fault(at, Kind.SECOND_INSTANCE, random.choice(BUSY_SERVICES))


def _rebalance_storm(random: Random, at: float) -> Fault:
    return Fault(
        at, Kind.REBALANCE_STORM, random.choice(BUSY_SERVICES), round(random.uniform(3, 8), 1), random.randint(3, 8)
    )


def _stall_and_kill(random: Random, at: float) -> Fault:
    """A service dies while it waits for its database or its broker: in between a commit and the next one."""
    server = random.choice(SERVERS)
    service = random.choice(("signals", "signals", *BUSY_SERVICES))
    return Fault(at, Kind.STALL_AND_KILL, f"{service}-{server}", round(random.uniform(1.5, 4), 1))


_MAKERS: Final[Sequence[tuple[int, Callable[[Random, float], Fault]]]] = (
    (5, _kill),
    (4, _pause),
    (2, _backend_kill),
    (2, _backend_pause),
    (3, _cut),
    (3, _silence),
    (3, _delay),
    (2, _restart),
    (2, _disk_full),
    (2, _clock_step),
    (3, _second_instance),
    (2, _rebalance_storm),
    (3, _stall_and_kill),
)


def schedule(seed: int) -> list[Fault]:
    """The faults of a seed in the order of their time: always one death in the middle of work, and four to six more.

    A service gets at most one more instance, and a server's disk is full at most once.
    """
    random = Random(f"faults {seed}")  # noqa: S311 - to be the same again
    weights = [weight for weight, _ in _MAKERS]
    makers = [maker for _, maker in _MAKERS]
    faults = [_stall_and_kill(random, round(random.uniform(4, LOAD_SECONDS - 6), 1))]
    once: set[tuple[Kind, str]] = set()
    wanted = random.randint(5, 7)
    while len(faults) < wanted:
        maker = random.choices(makers, weights)[0]
        fault = maker(random, round(random.uniform(2, LOAD_SECONDS - 2), 1))
        if fault.kind in (Kind.SECOND_INSTANCE, Kind.DISK_FULL):
            if (fault.kind, fault.target) in once:
                continue
            once.add((fault.kind, fault.target))
        faults.append(fault)
    return sorted(faults, key=lambda fault: (fault.at, fault.kind, fault.target))
