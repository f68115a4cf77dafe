"""What there is on the stack that is fuzzed."""

from uuid import uuid4

import pytest

from deploy.local.stack import LocalStack
from tests.e2e.api import Api, api, id_of, send
from tests.support.eventually import eventually
from tests.support.factories import engine_signal


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
    """Ids that exist, by the name of the path parameter: signals with and without work on them, and so on."""
    signals = [engine_signal(facility=f"Hospital {number}", facility_id=f"F{number}") for number in range(4)]
    await send(stack, signals)
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
        await admin.call("POST", f"/api/signals/{signal}/interventions", 201, json=what) for signal in ids[:2]
    ]
    nothing = {"name": "Nothing", "conditions": {"metric_id": ["none"]}}
    rule = await admin.call(
        "POST", "/api/ownership-rules", 201, json=nothing | {"assignee_id": me, "role_type": "administration"}
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
