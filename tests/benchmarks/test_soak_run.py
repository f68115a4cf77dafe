"""What a soak keeps of what it sees: all of it, also what no sample tells, and whatever breaks after it."""

import json
from importlib import import_module
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any, cast

import asyncpg
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from benchmarks.api_load.notes import Followed, Requests
from benchmarks.soak import run
from benchmarks.soak.__main__ import storing
from benchmarks.soak.run import Outcome, Soak, begin, end, judge
from benchmarks.soak.sampling import Told
from tests.benchmarks.test_soak_verdict import steady


class FailingCrowd:
    """Something fails between any two looks."""

    def __init__(self) -> None:
        self.looks = 0
        self.looked_at = 0.0
        self.at_once = 0

    async def at_work(self, users: int) -> None:
        self.at_once = users

    async def take(self) -> Requests:
        self.looks += 1
        self.looked_at = perf_counter()
        what = f"look {self.looks}"
        return Requests(self.at_once, 1.0, {}, {what: 1}, {}, [], 0, [], {what: 2}, self.looks)

    async def followed(self) -> list[Followed]:
        return [Followed("user", "", 0, 0, [], 1)]


class EmptyFeed:
    """A connection to a database of which the feed has nothing."""

    async def fetchval(self, _: str) -> int:
        return 0

    async def fetch(self, *_: Any) -> list[Any]:
        return []


async def test_what_fails_before_the_first_sample_and_after_the_last_is_complained_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "PATIENCE_SECONDS", 0.1)
    outcome, crowd, connection = Outcome(Soak()), FailingCrowd(), cast("asyncpg.Connection", EmptyFeed())
    await begin(outcome, crowd)
    assert crowd.at_once == outcome.soak.users
    assert outcome.complaints == [
        "at the beginning: failed: look 1: 1 times",
        "at the beginning: a stream: look 1: 2 times",
    ]
    outcome.complaints.clear()
    ended = perf_counter()
    await end(outcome, crowd, connection)
    # Not before a request that was under way when the load ended has failed.
    assert crowd.looked_at >= ended + 0.1
    assert outcome.streams is not None
    assert outcome.complaints == [
        "at the end: failed: look 2: 1 times",
        "at the end: a stream: look 2: 2 times",
        "at the end: 2 streams of everything have left a position out",
    ]


def test_what_was_seen_is_stored_whatever_breaks_then(tmp_path: Path) -> None:
    file = tmp_path / "results" / "soak.json"
    outcome = Outcome(Soak())

    def sees_and_breaks() -> None:
        outcome.samples.append(steady(5.0, Random(1)))  # noqa: S311 - any
        raise OSError("the service is away")

    with pytest.raises(OSError, match="away"):
        storing(outcome, file, sees_and_breaks)
    stored = json.loads(file.read_bytes())
    assert [sample["seconds"] for sample in stored["samples"]] == [5.0]
    assert stored["complaints"] == ["it broke off: OSError('the service is away')"]
    outcome.samples[0].memory_mib.clear()
    with pytest.raises(ValueError, match="nothing to see of memory"):
        storing(outcome, file, lambda: judge(outcome))
    assert "nothing to see of memory" in json.loads(file.read_bytes())["complaints"][-1]


def test_a_soak_that_broke_before_its_first_sample_leaves_nothing(tmp_path: Path) -> None:
    def breaks() -> None:
        raise OSError("there is no stack")

    with pytest.raises(OSError, match="no stack"):
        storing(Outcome(Soak()), tmp_path / "soak.json", breaks)
    assert not list(tmp_path.iterdir())


def told_by(service: str, *left_out: str) -> Told:
    """What a service tells that has had trouble with some things, and no longer has some metrics."""
    registry = CollectorRegistry()
    gauges = {
        "compass_outbox_oldest_seconds": 3.0,
        "compass_activity_stream_readers": 12.0,
    }
    for name, value in gauges.items():
        if name not in left_out:
            Gauge(name, name, registry=registry).set(value)
    for name, label in (("compass_consumer_lag", "group"), ("compass_dead_letters", "group")):
        if name not in left_out:
            by_group = Gauge(name, name, (label,), registry=registry)
            by_group.labels("signals.ingest").set(4)
    for name, label in (("compass_worker_restarts_total", "worker"), ("compass_consumer_restarts_total", "group")):
        if name not in left_out:
            Counter(name, name, (label,), registry=registry).labels("relay").inc(2)
    told = Told()
    told.take(service, generate_latest(registry).decode())
    return told


def test_everything_that_a_service_tells_is_taken() -> None:
    told = told_by("activity")
    assert told.outbox_oldest_seconds == {"activity": 3.0}
    assert told.lag == told.dead_letters == {"signals.ingest": 4.0}
    assert told.restarts == {"relay of activity": 2.0, "consumer relay": 2.0}
    assert told.readers == 12.0
    assert told_by("signals", "compass_activity_stream_readers").readers == 0.0


@pytest.mark.parametrize(
    "name",
    [
        "compass_outbox_oldest_seconds",
        "compass_consumer_lag",
        "compass_dead_letters",
        "compass_worker_restarts_total",
        "compass_consumer_restarts_total",
        "compass_activity_stream_readers",
    ],
)
def test_a_metric_that_is_no_more_is_not_taken_for_nothing(name: str) -> None:
    with pytest.raises(KeyError, match=name.removesuffix("_total")):
        told_by("activity", name)


def test_the_services_have_all_of_the_metrics() -> None:
    # Which register them as soon as they are imported.
    for module in ("shared.observation", "services.activity.service_hub"):
        import_module(module)
    told = Told()
    told.take("activity", generate_latest().decode())
    assert list(told.outbox_oldest_seconds) == ["activity"]
