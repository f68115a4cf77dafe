"""Interventions: activated, shown along the chain of detections, and measured once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.workflow import service_outcomes
from services.workflow.settings import OutcomeSettings
from tests.support.eventually import eventually
from tests.workflow.world import (
    ADMIN,
    CLINICAL,
    NURSING,
    VIEWER,
    Somebody,
    World,
    detection,
    event,
    kinds,
    month,
    problem,
    signal_event,
)

RULES = OutcomeSettings()


async def activate(world: World, signal: UUID, by: Somebody = NURSING, **more: Any) -> httpx.Response:
    """A change of staffing on the first of April, three months before against three months after."""
    headers = {name: more.pop(name) for name in ("key",) if name in more}
    body = {"kind": "staffing", "title": "A second triage nurse", "started_at": month(4)} | more
    return await world.call(by, "POST", f"/signals/{signal}/interventions", body, **headers)


async def fix(world: World, intervention: object, by: Somebody = CLINICAL, **more: Any) -> httpx.Response:
    """Measure now."""
    return await world.call(by, "POST", f"/interventions/{intervention}/outcome", **more)


async def listed(world: World, signal: UUID) -> list[dict[str, Any]]:
    """The signal's interventions."""
    answer = await world.call(VIEWER, "GET", f"/signals/{signal}/interventions")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["interventions"]
    return found


async def detect(world: World, entity: UUID, values: dict[int, float], **more: Any) -> None:
    """Detections of these months, in their order."""
    await world.hear_signals(
        *(signal_event(entity, number, "redetected", metric_value=value, **more) for number, value in values.items())
    )


async def measure_due(world: World, now: datetime | None = None) -> int:
    """One look of the worker."""
    async with world.service.session_maker() as session, session.begin():
        return await service_outcomes.measure_due(session, now or datetime.now(UTC), RULES)


async def test_an_intervention_is_activated_and_told_of(world: World) -> None:
    signal = await world.new_signal()
    answer = await activate(world, signal, notes="From 16:00.", before_days=60, after_days=30)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["etag"] == made["etag"] == '"1"'
    assert (made["kind"], made["title"], made["notes"]) == ("staffing", "A second triage nurse", "From 16:00.")
    assert made["created_by"] == {"id": str(NURSING.id), "name": NURSING.name}
    start = month(4)
    assert [datetime.fromisoformat(made[name]) for name in ("window_begins_at", "started_at", "window_ends_at")] == [
        start - timedelta(days=60),
        start,
        start + timedelta(days=30),
    ]
    assert (made["outcome"], made["measured_at"], made["measured_by"]) == (None, None, None)
    assert made["so_far"]["verdict"] == "not_enough_data"
    assert await listed(world, signal) == [made]

    (told,) = await world.events_of(signal)
    assert (told["type"], told["feed"], told["actor"]) == (
        "intervention.activated",
        "intervention_activated",
        NURSING.id,
    )
    assert told["summary"] == (
        "Nursing Lead activated a change of staffing for ‘breachRate at Northfield General’: “A second triage nurse”."
    )
    assert (told["data"]["intervention_id"], told["data"]["signal_id"]) == (made["id"], str(signal))
    assert told["data"]["outcome"] is None


async def test_what_is_not_given_comes_from_now_and_the_settings(world: World) -> None:
    signal = await world.new_signal()
    before = datetime.now(UTC)
    answer = await world.call(
        CLINICAL, "POST", f"/signals/{signal}/interventions", {"kind": "ai_agent", "title": "Rounds"}
    )
    made = answer.json()
    start = datetime.fromisoformat(made["started_at"])
    assert before <= start <= datetime.now(UTC)
    assert datetime.fromisoformat(made["window_ends_at"]) == start + timedelta(days=RULES.after_days)
    assert datetime.fromisoformat(made["window_begins_at"]) == start - timedelta(days=RULES.before_days)


async def test_who_may_and_what_is_refused(world: World) -> None:
    signal = await world.new_signal()
    path = f"/signals/{signal}/interventions"
    good = {"kind": "education", "title": "Training"}
    assert problem(await world.call(None, "POST", path, good))[0] == 401
    assert problem(await world.call(VIEWER, "POST", path, {}))[0] == 403
    for bad in (
        {},
        good | {"kind": "prayer"},
        good | {"title": " "},
        good | {"title": "x" * 256},
        good | {"title": "NUL \0"},
        good | {"started_at": "2026-04-01"},
        good | {"started_at": "0001-01-01T00:00:00Z"},
        good | {"before_days": 0},
        good | {"after_days": 731},
        good | {"after_days": "30"},
        good | {"outcome": "improved"},
    ):
        assert problem(await world.call(ADMIN, "POST", path, bad)) == (422, "invalid"), bad
    late = good | {"started_at": datetime.now(UTC) + timedelta(days=2)}
    assert problem(await world.call(ADMIN, "POST", path, late)) == (422, "starts_in_the_future")
    unknown = f"/signals/{uuid4()}/interventions"
    assert problem(await world.call(ADMIN, "POST", unknown, good)) == (404, "signal_not_known_yet")
    assert problem(await world.call(ADMIN, "GET", unknown)) == (404, "signal_not_known_yet")
    assert problem(await fix(world, uuid4())) == (404, "not_found")
    made = (await world.call(CLINICAL, "POST", path, good)).json()
    assert problem(await fix(world, made["id"], VIEWER))[0] == 403
    assert (await world.service.rows("SELECT count(*) AS n FROM interventions")) == [{"n": 1}]


async def test_a_key_activates_once(world: World) -> None:
    signal = await world.new_signal()
    answers = [await activate(world, signal, key="k") for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert kinds(await world.events_of(signal)) == ["intervention.activated"]


async def test_interventions_show_along_the_chain_and_an_old_signal_takes_none(world: World) -> None:
    entity = uuid4()
    await detect(world, entity, {1: 0.2})
    made = (await activate(world, detection(entity, 1))).json()
    await detect(world, entity, {2: 0.2})
    later = (await activate(world, detection(entity, 2), started_at=month(5))).json()
    for number in (1, 2):
        shown = await listed(world, detection(entity, number))
        assert [one["id"] for one in shown] == [later["id"], made["id"]]
        assert [one["signal_id"] for one in shown] == [str(detection(entity, n)) for n in (2, 1)]
    assert problem(await activate(world, detection(entity, 1))) == (409, "superseded")


async def test_pages_neither_skip_nor_repeat(world: World) -> None:
    signal = await world.new_signal()
    made = [(await activate(world, signal, started_at=month(2 + number // 3))).json()["id"] for number in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        answer = await world.call(VIEWER, "GET", f"/signals/{signal}/interventions?limit=2{cursor}")
        seen += [one["id"] for one in answer.json()["interventions"]]
        if not answer.json()["has_more"]:
            break
        cursor = f"&cursor={answer.json()['cursor']}"
    assert sorted(seen) == sorted(made)
    assert problem(await world.call(VIEWER, "GET", f"/signals/{signal}/interventions?cursor=x")) == (422, "bad_cursor")


async def test_the_outcome_is_fixed_on_demand_from_later_detections_of_the_chain(world: World) -> None:
    entity = uuid4()
    await detect(world, entity, {2: 0.22, 4: 0.18})
    made = (await activate(world, detection(entity, 4))).json()
    assert problem(await fix(world, made["id"])) == (409, "not_enough_data")
    await detect(world, entity, {5: 0.15})
    (shown,) = await listed(world, detection(entity, 5))
    assert shown["so_far"]["verdict"] == "improved"
    assert problem(await fix(world, made["id"], if_match='"9"')) == (412, "stale_version")

    answer = await fix(world, made["id"], if_match='"1"')
    assert answer.status_code == 200, answer.text
    after = answer.json()
    assert answer.headers["etag"] == after["etag"] == '"2"'
    assert after["so_far"] is None
    assert after["outcome"] == shown["so_far"]
    assert (after["outcome"]["before"]["mean"], after["outcome"]["after"]["mean"]) == (0.2, 0.15)
    assert after["measured_by"] == {"id": str(CLINICAL.id), "name": CLINICAL.name}
    assert await listed(world, detection(entity, 2)) == [after]
    assert problem(await fix(world, made["id"])) == (409, "already_measured")

    (told,) = await world.events_of(detection(entity, 5))
    assert (told["type"], told["feed"], told["actor"]) == (
        "intervention.measured",
        "intervention_outcome",
        CLINICAL.id,
    )
    assert told["summary"] == (
        "‘breachRate at Northfield General’ improved after “A second triage nurse” of 2026-04-01: From 0.2 on average "
        "over 2 detections to 0.15 over 1 detection (25.0% lower); lower is better."
    )
    data = told["data"]
    assert (data["outcome"], data["value_before"], data["value_after"]) == ("improved", 0.2, 0.15)
    assert (data["difference"], data["relative_change"]) == (-0.05, -0.25)
    assert data["activated_signal_id"] == str(detection(entity, 4))
    assert data["measured_by"] == {"user_id": str(CLINICAL.id), "name": CLINICAL.name}


async def test_it_is_measured_by_itself_once_a_detection_reaches_the_windows_end(world: World) -> None:
    entity = uuid4()
    await detect(world, entity, {2: 0.2})
    made = (await activate(world, detection(entity, 2), started_at=month(2), after_days=40)).json()
    assert await measure_due(world) == 0
    await detect(world, entity, {3: 0.3})
    assert await measure_due(world) == 0
    await detect(world, entity, {4: 0.1})
    assert await measure_due(world) == 1
    assert await measure_due(world) == 0
    (after,) = await listed(world, detection(entity, 4))
    # That of April lies behind the end of the window in mid-March: it ends it and does not count.
    assert (after["id"], after["outcome"]["verdict"]) == (made["id"], "worsened")
    assert (after["outcome"]["after"]["mean"], after["outcome"]["after"]["detections"]) == (0.3, 1)
    assert (after["measured_by"], after["measured_at"] is None) == (None, False)
    (told,) = await world.events_of(detection(entity, 4))
    assert (told["type"], told["actor"], told["data"]["measured_by"]) == ("intervention.measured", None, None)

    # What comes late, or is corrected, leaves the outcome as it was measured.
    await world.hear_signals(
        signal_event(entity, 3, "corrected", sequence=2, metric_value=0.01),
        signal_event(entity, 1, "recorded", metric_value=0.9, is_current=False),
    )
    assert await measure_due(world) == 0
    assert await listed(world, detection(entity, 4)) == [after]


async def test_where_no_detection_comes_any_more_it_is_measured_when_the_time_is_up(world: World) -> None:
    entity = uuid4()
    await detect(world, entity, {1: 0.2})
    made = (await activate(world, detection(entity, 1), started_at=month(1), after_days=10)).json()
    at_the_latest = datetime.fromisoformat(made["measured_at_the_latest"])
    assert at_the_latest > datetime.now(UTC) + timedelta(days=9)
    assert await measure_due(world, at_the_latest - timedelta(seconds=1)) == 0
    assert await measure_due(world, at_the_latest) == 1
    (after,) = await listed(world, detection(entity, 1))
    assert after["outcome"]["verdict"] == "not_enough_data"
    assert after["outcome"]["reason"].startswith("No detections after it started")
    events = await world.events_of(detection(entity, 1))
    assert kinds(events) == ["intervention.activated", "intervention.measured"]
    assert "cannot be said: No detections after" in events[1]["summary"]
    assert [found["sequence"] for found in events] == [1, 2]


async def test_the_target_range_is_that_of_the_registry(world: World) -> None:
    entity = uuid4()
    stays = {"metric_id": "losDays", "polarity": "target_range", "peer_mean": None}
    await detect(world, entity, {1: 5.5, 2: 4.5}, **stays)
    made = (await activate(world, detection(entity, 2), started_at=month(1))).json()
    assert made["so_far"]["verdict"] == "not_enough_data"

    async def hear(sequence: int, target: dict[str, float] | None, kind: str = "changed") -> None:
        metric: dict[str, Any] = {
            "metric_id": "losDays",
            "display_name": "Length of stay",
            "domain": "Efficiency",
            "unit": "days",
            "polarity": "target_range",
            "target_range": target,
            "changed": [],
        }
        await world.hear_signals(event("signals", f"compass.metric.{kind}.v1", uuid4(), sequence, metric))

    await hear(2, {"low": 3.0, "high": 4.0})
    await hear(1, {"low": 5.0, "high": 6.0}, "snapshot")
    (shown,) = await listed(world, detection(entity, 2))
    assert shown["so_far"]["target_range"] == {"low": 3.0, "high": 4.0}
    assert shown["so_far"]["verdict"] == "improved"
    # Under the same number it differs only where the registry went back in time.
    await hear(2, {"low": 3.5, "high": 4.0}, "snapshot")
    assert (await listed(world, detection(entity, 2)))[0]["so_far"]["target_range"] == {"low": 3.5, "high": 4.0}
    await hear(3, None, "snapshot")
    assert (await listed(world, detection(entity, 2)))[0]["so_far"]["verdict"] == "not_enough_data"


async def test_of_many_who_measure_at_once_one_does(real_world: World) -> None:
    for _ in range(6):  # the first time while connections are still being made
        entity = uuid4()
        await detect(real_world, entity, {2: 0.2})
        made = (await activate(real_world, detection(entity, 2), started_at=month(2), after_days=40)).json()
        await detect(real_world, entity, {3: 0.3, 4: 0.1})
        answers = await asyncio.gather(
            *(fix(real_world, made["id"]) for _ in range(8)), *(measure_due(real_world) for _ in range(8))
        )
        fixed = [answer for answer in answers if isinstance(answer, httpx.Response) and answer.status_code == 200]
        measured = sum(answer for answer in answers if isinstance(answer, int))
        assert len(fixed) + measured == 1
        assert kinds(await real_world.events_of(detection(entity, 4))).count("intervention.measured") == 1


async def test_measuring_while_newer_detections_arrive(real_world: World) -> None:
    """The outcome is told at the detection that is current when it is measured; nothing waits for ever."""
    for turn in range(10):
        entity = uuid4()
        await detect(real_world, entity, {2: 0.2})
        made = (await activate(real_world, detection(entity, 2), started_at=month(2))).json()
        await detect(real_world, entity, {3: 0.3})
        both = [detect(real_world, entity, {4: 0.4}), fix(real_world, made["id"])]
        await asyncio.gather(*both[:: 1 if turn % 2 else -1])
        (shown,) = await listed(real_world, detection(entity, 4))
        at = 4 if shown["outcome"]["after"]["detections"] == 2 else 3
        assert kinds(await real_world.events_of(detection(entity, at))) == ["intervention.measured"]


async def test_the_worker_measures_and_goes_on_after_an_outage(
    real_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    entity = uuid4()
    await detect(real_world, entity, {2: 0.2})
    await activate(real_world, detection(entity, 2), started_at=month(2), after_days=40)
    await detect(real_world, entity, {3: 0.3, 4: 0.1})
    measure, failures = service_outcomes.measure_due, iter([ConnectionRefusedError("away")])

    async def after_an_outage(*arguments: Any) -> int:
        for failure in failures:
            raise failure
        return await measure(*arguments)

    monkeypatch.setattr(service_outcomes, "measure_due", after_an_outage)
    settings = real_world.service.settings.model_copy(update={"outcome": OutcomeSettings(check_seconds=0.01)})
    real_world.service.app.state.settings = settings
    worker = asyncio.create_task(service_outcomes.measure_outcomes(real_world.service.app))
    try:
        shown = await eventually(
            lambda: listed(real_world, detection(entity, 4)), lambda found: found[0]["outcome"] is not None
        )
    finally:
        worker.cancel()
    assert shown[0]["outcome"]["verdict"] == "worsened"
