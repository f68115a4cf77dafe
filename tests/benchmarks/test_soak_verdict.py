"""The verdict of a soak: flat is flat, also where it is noisy, and every kind of growth is found."""

from collections.abc import Callable
from math import nan
from random import Random

import pytest
from msgspec.structs import replace

from benchmarks.soak.limits import QUEUES, SERVICES, limits
from benchmarks.soak.sampling import Sample
from benchmarks.soak.verdict import complaints, growth_per_hour, lines

USERS = 120
RATE = 120.0
HOUR = 3600.0


def steady(seconds: float, random: Random) -> Sample:
    """A sample of a stack that does its work, with the noise that there is."""

    def about(value: float, by: float) -> float:
        return value + random.uniform(-by, by)

    return Sample(
        seconds=seconds,
        memory_mib={name: about(140, 4) for name in SERVICES}
        | {"kafka": about(420, 40), "gateway": 75, "postgres": 280},
        handles={name: about(60, 12) for name in SERVICES} | {"kafka": 220, "gateway": about(600, 60)},
        connections=dict.fromkeys(SERVICES, 13),
        table_mib={name: about(3, 1) for name in QUEUES} | {"signals.signals": 400 + seconds / 20},
        dead_share={"signals.signals": 0.2 * random.random()} | dict.fromkeys(QUEUES, 0.5),
        outbox_oldest_seconds=dict.fromkeys(SERVICES, 0.0),
        lag={"signals.ingest": random.randrange(20)},
        restarts={"relay of signals": 0.0, "consumer signals.ingest": 0.0},
        dead_letters={"signals.ingest": 0.0},
        readers=USERS,
        requests_per_second=120,
        p50=8,
        p99=about(80, 30),
        failures={},
        stream_troubles={},
        gaps=0,
        delivered=round(seconds * 300),
    )


def hour(change: Callable[[Sample], Sample] = lambda sample: sample, minutes: float = 60.0) -> list[str]:
    """What is complained of about so many minutes of which every sample was changed."""
    random = Random(7)  # noqa: S311 - noise, the same again
    samples = [change(steady(at * 5.0, random)) for at in range(1, int(minutes * 12) + 1)]
    return complaints(samples, lines(samples, limits(USERS)), RATE)


def more(values: dict[str, float], name: str, by: float) -> dict[str, float]:
    return values | {name: values[name] + by}


def test_what_is_steady_is_not_complained_of() -> None:
    assert hour() == []


@pytest.mark.parametrize("outlier", [0.1, 0.2])
def test_single_samples_in_the_midst_of_something_move_no_slope(outlier: float) -> None:
    random = Random(3)  # noqa: S311 - noise, the same again

    def sometimes(sample: Sample) -> Sample:
        if random.random() > outlier:
            return sample
        return replace(
            sample, p99=4000.0, lag={"signals.ingest": 800.0}, memory_mib=more(sample.memory_mib, "auth", 60)
        )

    assert hour(sometimes) == []


GROWING: dict[str, Callable[[Sample], Sample]] = {
    "memory of workflow": lambda s: replace(s, memory_mib=more(s.memory_mib, "workflow", 30 * s.seconds / HOUR)),
    "memory of gateway": lambda s: replace(s, memory_mib=more(s.memory_mib, "gateway", 40 * s.seconds / HOUR)),
    "handles of activity": lambda s: replace(s, handles=more(s.handles, "activity", int(30 * s.seconds / HOUR))),
    "connections of signals": lambda s: replace(
        s, connections=more(s.connections, "signals", int(12 * s.seconds / HOUR))
    ),
    "table of workflow.outbox": lambda s: replace(
        s, table_mib=more(s.table_mib, "workflow.outbox", 12 * s.seconds / HOUR)
    ),
    "dead rows of signals.signals": lambda s: replace(
        s, dead_share=more(s.dead_share, "signals.signals", 0.5 * s.seconds / HOUR)
    ),
    "outbox age of auth": lambda s: replace(
        s, outbox_oldest_seconds=more(s.outbox_oldest_seconds, "auth", 3 * s.seconds / HOUR)
    ),
    "lag of signals.ingest": lambda s: replace(s, lag=more(s.lag, "signals.ingest", 200 * s.seconds / HOUR)),
    "streams of activity": lambda s: replace(s, readers=s.readers + int(12 * s.seconds / HOUR)),
    "requests of p99": lambda s: replace(s, p99=s.p99 + 200 * s.seconds / HOUR),
}


@pytest.mark.parametrize("what", GROWING)
def test_what_grows_slowly_is_found_in_an_hour_and_named(what: str) -> None:
    (found,) = hour(GROWING[what])
    assert found.startswith(f"{what} grows by ")


@pytest.mark.parametrize("what", GROWING)
def test_in_a_minute_nobody_can_tell(what: str) -> None:
    assert hour(GROWING[what], minutes=1) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: replace(s, memory_mib=more(s.memory_mib, "signals", 300)), "memory of signals was "),
        (lambda s: replace(s, handles=more(s.handles, "auth", 400)), "handles of auth was "),
        (lambda s: replace(s, connections=more(s.connections, "workflow", 20)), "connections of workflow was "),
        (lambda s: replace(s, table_mib=more(s.table_mib, "auth.outbox", 90)), "table of auth.outbox was "),
        (lambda s: replace(s, lag={"signals.ingest": 9000}), "lag of signals.ingest was "),
        (lambda s: replace(s, outbox_oldest_seconds={"workflow": 90.0}), "outbox age of workflow was "),
        (lambda s: replace(s, readers=USERS + 20), "streams of activity was 140.00"),
        (
            lambda s: replace(s, restarts=s.restarts | {"relay of signals": 1.0}),
            "restarts of relay of signals was 1.00",
        ),
        (lambda s: replace(s, dead_letters={"signals.ingest": 2.0}), "dead letters of signals.ingest was 2.00"),
        (lambda s: replace(s, failures={"GET /api/feed: 500": 1}), "failed: GET /api/feed: 500: 12 times"),
        (lambda s: replace(s, stream_troubles={"cut": 1}), "a stream: cut: 12 times"),
        (lambda s: replace(s, gaps=2), "2 streams of everything have left a position out"),
    ],
)
def test_what_may_never_be_is_found_in_a_minute(change: Callable[[Sample], Sample], complaint: str) -> None:
    (found,) = hour(change, minutes=1)
    assert found.startswith(complaint)


def test_an_outbox_may_be_large_from_what_filled_the_database_but_not_from_the_work() -> None:
    def large(when: Callable[[float], bool]) -> Callable[[Sample], Sample]:
        return lambda s: replace(s, table_mib=more(s.table_mib, "signals.outbox", 90)) if when(s.seconds / HOUR) else s

    assert hour(large(lambda share: share < 0.2)) == []
    (found,) = hour(large(lambda share: 0.3 < share < 0.4))
    assert found.startswith("table of signals.outbox was 9")


@pytest.mark.parametrize("name", ["memory_mib", "dead_letters", "restarts", "outbox_oldest_seconds", "lag"])
def test_a_limit_that_finds_nothing_holds_nothing(name: str) -> None:
    with pytest.raises(ValueError, match="there is nothing to see of "):
        hour(lambda sample: replace(sample, **{name: {}}), minutes=1)


def silent(when: Callable[[float], bool]) -> Callable[[Sample], Sample]:
    """Nobody is answered in some of the samples."""
    return lambda s: replace(s, requests_per_second=0.0, p50=nan, p99=nan) if when(s.seconds) else s


@pytest.mark.parametrize("at", [5.0, 1200.0, 3600.0])
def test_a_sample_without_an_answer_is_complained_of_and_moves_no_slope(at: float) -> None:
    (found,) = hour(silent(lambda seconds: seconds == at))
    assert found == f"nobody was answered in 1 samples of 5 s, first after {at - 5:.0f} s"


def test_a_slope_is_found_beside_samples_without_an_answer() -> None:
    random = Random(5)  # noqa: S311 - noise, the same again
    now_and_then = silent(lambda _: random.random() < 0.1)
    growing, flat = GROWING["requests of p99"], hour(now_and_then)
    assert [complaint.split(" in ")[0] for complaint in flat] == ["nobody was answered"]
    found = hour(lambda sample: now_and_then(growing(sample)))
    assert [complaint.split(" by ")[0].split(" in ")[0] for complaint in found] == [
        "requests of p99 grows",
        "nobody was answered",
    ]


def test_where_nobody_was_ever_answered_there_is_no_figure_but_a_complaint() -> None:
    assert hour(silent(lambda _: True), minutes=1) == ["nobody was answered in 12 samples of 60 s, first after 0 s"]


def test_a_moment_in_which_leaders_make_a_pause_is_no_silence() -> None:
    random = Random(7)  # noqa: S311 - noise, the same again
    samples = [silent(lambda _: True)(steady(at * 0.1, random)) for at in range(1, 10)]
    assert complaints(samples, [], RATE) == []


def test_a_slope_is_that_of_a_line() -> None:
    assert growth_per_hour([0.0, 1800.0, 3600.0], [1.0, 2.0, 3.0]) == pytest.approx(2.0)
    assert growth_per_hour([5.0], [1.0]) == 0.0
