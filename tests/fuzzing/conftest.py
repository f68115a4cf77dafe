"""What there is on the stack that is fuzzed."""

from uuid import uuid4

import pytest

from deploy.local.stack import LocalStack
from shared.events.topics import ENGINE_INSIGHTS
from tests.e2e.api import Api, api, id_of, send
from tests.support.eventually import eventually
from tests.support.factories import engine_signal

SEVERAL = 3


async def assign(admin: Api, signal: str, person: str) -> None:
    """Assign as soon as the workflow service knows signal and person."""
    body = {"assignee_id": person, "role_type": "administration"}
    await eventually(
        lambda: admin.client.post(f"/api/signals/{signal}/assign", json=body), lambda answer: answer.status_code == 200
    )


async def account(admin: Api) -> str:
    """Of somebody whom nobody misses."""
    new = {"email": f"{uuid4().hex}@hospital.example", "name": "Nobody", "role": "viewer"}
    return str((await admin.call("POST", "/api/users", 201, json=new))["id"])


@pytest.fixture(scope="session")
async def known_ids(stack: LocalStack) -> dict[str, list[str]]:
    """Ids that exist, by the name of the path parameter: signals with and without work on them, and so on.

    What belongs to the first of each are several: every list of it has a second page.
    """
    signals = [engine_signal(facility=f"Hospital {number}", facility_id=f"F{number}") for number in range(4)]
    earlier = [signals[0] | {"detected_at": f"2026-0{month}-01T00:00:00Z"} for month in (4, 5, 6)]
    await send(stack, earlier + signals + [{"facility": "Nowhere", "number": number} for number in range(SEVERAL)])
    about = {name: signals[0][name] for name in ("canonical_node_id", "metric_id", "facility_id", "facility")}
    insights = [
        about | {"title": f"Evenings {number}", "text": "After six.", "confidence": 0.8} for number in range(SEVERAL)
    ]
    await send(stack, insights, ENGINE_INSIGHTS)
    admin = api(stack, "admin")
    await admin.login()
    ids = [str(id_of(signal)) for signal in signals]
    await eventually(
        lambda: admin.client.get(f"/api/signals/{ids[-1]}/assignment"), lambda answer: answer.status_code == 200
    )
    me = (await admin.me())["id"]
    for signal in ids[:2]:
        await assign(admin, signal, me)
    what = {"kind": "playbook", "title": "Rounds"}
    interventions = [
        await admin.call("POST", f"/api/signals/{signal}/interventions", 201, json=what)
        for signal in ids[:1] * SEVERAL + ids[1:2]
    ]
    for number in range(SEVERAL):
        await admin.call("POST", f"/api/signals/{ids[0]}/comments", 201, json={"text": f"Number {number}."})
    nothing = {
        "name": "Nothing",
        "conditions": {"metric_id": ["none"]},
        "assignee_id": me,
        "role_type": "administration",
    }
    rule = await admin.call("POST", "/api/ownership-rules", 201, json=nothing)
    for number in range(SEVERAL):
        path, changed = f"/api/ownership-rules/{rule['id']}", nothing | {"name": f"Nothing {number}"}
        tag = (await admin.client.get(path)).headers["etag"]
        await admin.call("PUT", path, 200, json=changed, headers={"if-match": tag})
    await eventually(lambda: admin.get("/api/dead-letters"), lambda page: len(page["dead_letters"]) >= SEVERAL)
    await eventually(
        lambda: admin.get(f"/api/signals/{ids[0]}/insights"), lambda page: len(page["insights"]) >= SEVERAL
    )
    events = await eventually(lambda: admin.get("/api/feed"), lambda page: len(page["events"]) >= len(ids))
    return {
        "signal_id": ids,
        "metric_id": [signals[0]["metric_id"]],
        "event_id": [event["id"] for event in events["events"][:2]],
        "user_id": [await account(admin)],
        "intervention_id": [intervention["id"] for intervention in interventions],
        "rule_id": [rule["id"]],
    }
