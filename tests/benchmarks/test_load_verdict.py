"""The verdict of a load: what fails counts, wherever it happened, and a load that was none proves nothing."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from math import isnan
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import publishing
from benchmarks.api_load import place, run
from benchmarks.api_load.judging import Brought
from benchmarks.api_load.notes import Requests, percentile
from benchmarks.api_load.steps import Step, complaints, last_that_held
from benchmarks.measure import show

CHANGE = "POST /api/signals/{id}/assign"
FAILED = {"GET /api/feed: 500": 1}
SIZE = run.Size(users=200, steps=(100, 400))
BROUGHT = Brought(streams=200, expected=9, seen=9, connections=200, complaints=[])


def asked(users: int = 200, each: float = 80.0, answers: int = 3000, **more: Any) -> Requests:
    """What so many leaders ask in some seconds."""
    given: dict[str, Any] = {
        "seconds": 15.0,
        "milliseconds": {"GET /api/feed": [each] * (answers - 10), CHANGE: [each] * 10},
        "failures": {},
        "refusals": {f"{CHANGE}: 409 superseded": 2},
        "late": [1.0, 1.0],
        "delivered": 9,
        "delivery_milliseconds": [20.0, 30.0],
        "stream_troubles": {},
        "gaps": 0,
    }
    return Requests(users=users, **given | more)


def steps(*all_requests: Requests) -> list[Step]:
    return [Step(requests, 100, {"gateway": 0.5}) for requests in all_requests]


def judged(all_steps: list[Step], brought: Brought = BROUGHT, worked_on: int = 7) -> list[str]:
    return run.judged(SIZE, all_steps, brought, worked_on)


def test_a_percentile_is_never_more_than_what_was_seen() -> None:
    assert percentile([10.0, 20.0], 99) == pytest.approx(19.9)
    assert percentile([10.0], 99) == 10.0
    assert isnan(percentile([], 99))


def test_a_request_that_failed_is_one_that_took_as_long_as_anybody_waits() -> None:
    (good, bad) = steps(asked(), asked(failures={"GET /api/feed: timed out": 150}))
    assert good.p99 == pytest.approx(80.0)
    assert bad.p99 == 30_000.0
    (api_load, _) = run.reports(SIZE, steps(asked(100), bad.requests, asked(400)), BROUGHT, [])
    assert api_load.ours.values == [30_000.0]
    assert not api_load.reached
    assert not run.complained([api_load])
    told = run.reports(SIZE, steps(asked(100), bad.requests, asked(400)), BROUGHT, ["it was so"])
    assert run.complained(told)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"failures": FAILED}, "failed: GET /api/feed: 500: 1 times"),
        ({"stream_troubles": {"cut": 3}}, "a stream: cut: 3 times"),
        ({"gaps": 2}, "2 streams of everything have left a position out"),
    ],
)
def test_what_goes_wrong_while_the_month_comes_is_complained_of(wrong: dict[str, Any], complaint: str) -> None:
    assert judged(steps(asked(100), asked(200), asked(400))) == []
    assert judged(steps(asked(100), asked(200, **wrong), asked(400))) == [complaint]
    assert judged(steps(asked(100, **wrong), asked(200), asked(400))) == [complaint]
    month = Step(asked(200), 100, {}, around=[asked(200), asked(200, **wrong)])
    assert judged([*steps(asked(100)), month, *steps(asked(400))]) == [complaint]


def test_with_more_leaders_than_there_have_to_be_requests_may_fail_but_no_stream_leaves_anything_out() -> None:
    over = asked(400, failures=FAILED, stream_troubles={"too slow": 1}, answers=20)
    assert judged(steps(asked(100), asked(200), over)) == []
    assert judged(steps(asked(100), asked(200), asked(400, gaps=1))) == [
        "1 streams of everything have left a position out"
    ]


def test_a_load_that_was_none_proves_nothing() -> None:
    reading: dict[str, Any] = {"milliseconds": {"GET /api/feed": [80.0] * 3000}, "refusals": {}}
    assert judged(steps(*(asked(users, **reading) for users in (100, 200, 400)))) == [
        "there was no load: nobody has changed anything"
    ]
    refused = {f"{CHANGE}: 409 superseded": 10}
    assert judged(steps(*(asked(users, refusals=refused) for users in (100, 200, 400)))) == [
        "there was no load: nobody has changed anything"
    ]
    assert judged(steps(asked(100), asked(200, answers=100), asked(400))) == [
        "there was no load: 200 leaders were answered 6.7 times a second"
    ]
    good = steps(asked(100), asked(200), asked(400))
    assert judged(good, worked_on=0) == [
        "there was no load: nobody works on anything, so that there was nothing to judge"
    ]
    assert judged(good, Brought(200, 0, 0, 200, [])) == ["there was no load: the streams have brought nothing"]


def test_a_load_without_an_answer_is_told_of_all_the_same() -> None:
    nothing = asked(200, milliseconds={}, refusals={}, delivery_milliseconds=[])
    all_steps = steps(asked(100), nothing, asked(400))
    told = run.reports(SIZE, all_steps, BROUGHT, judged(all_steps))
    assert "COMPLAINT: there was no load: 200 leaders were answered 0.0 times a second" in show(told)
    assert [report.reached for report in told] == [False, False]


def test_what_follows_the_first_step_that_does_not_hold_has_had_luck() -> None:
    held = last_that_held(steps(asked(50), asked(100), asked(200, each=900.0), asked(400, answers=6000)))
    assert held is not None
    assert held.users == 100
    assert last_that_held(steps(asked(50, failures=FAILED), asked(100))) is None


def test_what_is_reached_is_what_the_last_step_that_held_asked_for() -> None:
    (faster, slower, month) = steps(asked(50, answers=2000), asked(100, answers=1600), asked(200, answers=6000))
    (_, saturation) = run.reports(SIZE, [faster, slower, month], BROUGHT, [])
    assert saturation.ours.values == [pytest.approx(6000 / 15)]
    # Not more of an earlier one; and what fails around a step has failed.
    failing = Step(month.requests, 100, {}, around=[asked(200, failures=FAILED)])
    (_, saturation) = run.reports(SIZE, [faster, slower, failing], BROUGHT, [])
    assert saturation.ours.values == [pytest.approx(1600 / 15)]


def test_what_fails_while_leaders_come_and_while_the_rest_arrives_belongs_to_the_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = iter([asked(failures={"coming": 1}), asked(), asked(failures={"draining": 1})])

    class Everything:
        """Crowd, connection and processes, none of which has anything to do."""

        async def at_work(self, _: int) -> None:
            return

        async def take(self) -> Requests:
            return next(taken)

        async def fetchval(self, _: str) -> int:
            return next(recorded)

        def cpu_seconds(self) -> dict[str, float]:
            return {}

    @contextmanager
    def started(*_: Any) -> Iterator[None]:
        yield

    async def nothing(_: Any) -> list[Any]:
        return []

    recorded = iter([0, 10, 10])
    monkeypatch.setattr(run, "_SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(run, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(publishing, "started", started)
    monkeypatch.setattr(publishing, "until_published", nothing)
    monkeypatch.setattr(place, "statements", nothing)
    everything: Any = Everything()
    stack: Any = SimpleNamespace(kafka=SimpleNamespace(bootstrap_servers=""))
    size = run.Size(users=200, month=10, month_seconds=0.01, steps=())
    step = asyncio.run(run._step(stack, everything, everything, everything, size, 1, 200))
    assert not step.holds
    assert complaints([step], 200) == ["failed: coming: 1 times", "failed: draining: 1 times"]
