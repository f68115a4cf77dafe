"""What operators do on a running stack: mend and replay, tell consumers that came late, insights on the way."""

import asyncio
import os
import subprocess
import sys
from typing import Any
from uuid import uuid4

from deploy.local.processes import PROJECT_ROOT
from deploy.local.stack import LocalStack
from shared.events.topics import ENGINE_INSIGHTS
from tests.e2e.api import api, count, id_of, query, send
from tests.e2e.reconfigured import reconfigured
from tests.support.eventually import eventually
from tests.support.factories import engine_signal


def new_signal(**changes: Any) -> dict[str, Any]:
    """A signal of a facility that no other test knows."""
    facility = f"O{uuid4().hex[:10]}"
    return engine_signal(facility=f"Hospital {facility}", facility_id=facility, **changes)


async def command(stack: LocalStack, service: str, module: str, *arguments: str) -> str:
    """What a command of a service prints; its failure fails the test."""
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", f"services.{service}.{module}", *arguments],
        env={**os.environ, **stack.service_environment(service)},
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


async def test_rejected_told_listed_mended_replayed_stored_once(stack: LocalStack) -> None:
    """The engine's severity lies outside of a range that is a setting: with another setting it is a good message."""
    admin = api(stack, "admin")
    await admin.login()
    signal = new_signal(simplified_signal_type="baseline", simplified_severity=75)
    await send(stack, [signal])

    async def letters() -> list[dict[str, Any]]:
        page = await admin.get("/api/dead-letters", code="invalid_classification", replayed=False, limit=100)
        found = []
        for letter in page["dead_letters"]:
            whole = await admin.get(f"/api/dead-letters/{letter['id']}")
            found += [whole] if signal["facility_id"] in whole["value"]["text"] else []
        return found

    [letter] = await eventually(letters)
    assert letter["consumer_group"] == "signals.ingest"

    async def shown() -> list[dict[str, Any]]:
        page = await admin.get("/api/feed", event_type="technical_error", limit=100)
        return [event for event in page["events"] if event["payload"]["offset"] == letter["offset"]]

    [event] = await eventually(shown)
    assert letter["detail"] in event["summary"]

    with reconfigured(stack, ["signals"], COMPASS_CLASSIFICATION__RANGES__BASELINE="[26, 75]"):
        await eventually(lambda: admin.client.get("/api/auth/me"), lambda answer: answer.status_code == 200)
        body = {"ids": [letter["id"]]}
        done = await admin.call("POST", "/api/dead-letters/replay", json=body, headers={"idempotency-key": "once"})
        assert [each["id"] for each in done["replayed"]] == [letter["id"]]
        again = await admin.call("POST", "/api/dead-letters/replay", json=body)
        assert (again["replayed"], again["already_replayed"]) == ([], [letter["id"]])
        path = f"/api/signals/{id_of(signal)}"
        stored = await eventually(lambda: admin.client.get(path), lambda answer: answer.status_code == 200)
        assert stored.json()["simplified_severity"] == 75
    seen = await eventually(
        lambda: admin.get("/api/feed", signal_id=str(id_of(signal))), lambda page: len(page["events"]) == 1
    )
    assert seen["events"][0]["event_type"] == "new_signal"
    assert await letters() == []
    assert "0 dead letters" in await command(stack, "signals", "dead_letters", "replay", "--code", "no_such_code")


async def test_an_insight_before_its_signal_reaches_the_feed(stack: LocalStack) -> None:
    leader = api(stack, "clinical")
    await leader.login()
    signal = new_signal()
    insight = {name: signal[name] for name in ("canonical_node_id", "metric_id", "facility_id", "facility")}
    insight |= {"title": "Evening arrivals", "text": "After six.", "confidence": 0.8}
    await send(stack, [insight, insight], ENGINE_INSIGHTS)
    waiting = "SELECT count(*) FROM signals.insights WHERE signal_id IS NULL AND extra ->> 'facility' = $1"
    await eventually(lambda: count(stack, waiting, signal["facility"]))
    await send(stack, [signal])
    path = f"/api/signals/{id_of(signal)}"
    page = await eventually(
        lambda: leader.get("/api/feed", signal_id=str(id_of(signal))), lambda page: len(page["events"]) == 2
    )
    assert {event["event_type"] for event in page["events"]} == {"new_signal", "insight"}
    detail = await leader.get(path)
    assert [item["title"] for item in detail["insights"]] == ["Evening arrivals"]


async def test_who_came_late_is_served_by_snapshots(stack: LocalStack) -> None:
    """The workflow's copy of a signal is lost; the signals service tells of it again, and nothing else happens."""
    admin = api(stack, "admin")
    await admin.login()
    signal = new_signal()
    signal_id = id_of(signal)
    await send(stack, [signal])
    known = "SELECT count(*) FROM workflow.known_signals WHERE signal_id = $1"
    shown = "SELECT count(*) FROM activity.activity_events WHERE signal_id = $1"
    await eventually(lambda: count(stack, known, signal_id))
    await eventually(lambda: count(stack, shown, signal_id))
    await query(stack, "DELETE FROM workflow.known_signals WHERE signal_id = $1", signal_id)
    gaps = (await admin.get("/api/audit/gaps"))["gaps"]

    out = await command(stack, "signals", "snapshot", "--part", "signals")
    assert out.splitlines()[-1].endswith("snapshots published")
    await eventually(lambda: count(stack, known, signal_id), seconds=60)
    me = await admin.me()
    body = {"assignee_id": me["id"], "role_type": "administration"}
    await admin.call("POST", f"/api/signals/{signal_id}/assign", 200, json=body)
    assert await count(stack, shown, signal_id) <= 2
    assert (await admin.get("/api/audit/gaps"))["gaps"] == gaps
