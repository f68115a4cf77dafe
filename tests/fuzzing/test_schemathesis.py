"""Every operation of the API document through the gateway, as each role, with requests that nobody thought of.

Marked `fuzzing` and left out of an ordinary run: `make fuzz`, `make fuzz SERVICE=signals`. The same seed makes the
same requests; COMPASS_FUZZ_SEED and COMPASS_FUZZ_EXAMPLES choose others and more.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.gateway.routes import SERVICES
from deploy.local.stack import LocalStack
from tests.e2e.api import PASSWORD, Api, api, id_of, send
from tests.fuzzing.document import operations_of, with_ids
from tests.support.eventually import eventually
from tests.support.factories import engine_signal

pytestmark = [pytest.mark.fuzzing, pytest.mark.timeout(900)]

SEED = os.environ.get("COMPASS_FUZZ_SEED", "1")
EXAMPLES = os.environ.get("COMPASS_FUZZ_EXAMPLES", "10")

# An admin is looked at most closely: the viewer's answers are mostly 403, and those of the three leaderships the same.
PHASES = {
    "admin": "examples,coverage,fuzzing,stateful",
    "nursing": "examples,fuzzing,stateful",
    "viewer": "examples,fuzzing,stateful",
    "clinical": "examples",
    "administration": "examples",
}

# What the schema of a request cannot say (a cursor is one that was given out, a role fits its bearer) is 422 and right.
UNCHECKED = "positive_data_acceptance"

CONFIGURATION = """\
continue-on-failure = true

[auth.dynamic.openapi.bearer]
path = "/api/auth/login"
payload = {{ email = "{email}", password = "{password}" }}
extract_selector = "/access_token"
retry_on = [401]

# Not QUERY, which the gateway refuses as malformed before anybody could say that it is not allowed; and none that is
# allowed on the path beside it: for PATCH and the like /api/signals/summary is a signal of that id.
[phases.coverage]
unexpected-methods = ["POST", "TRACE"]

# The usual ones, and that a request is too large for the gateway before anybody looks what is wrong with it.
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, 431]
"""


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


@pytest.fixture(scope="module")
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


@pytest.mark.parametrize("role", PHASES)
@pytest.mark.parametrize("service", SERVICES)
def test_no_request_surprises_a_service(
    stack: LocalStack, known_ids: dict[str, list[str]], service: str, role: str, tmp_path: Path
) -> None:
    phases = PHASES[role]
    if service == "auth":
        # It would find the account that it is logged in with, and deactivate it.
        phases = phases.removesuffix(",stateful")
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(with_ids(operations_of(service), known_ids)))
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION.format(email=f"{role}@demo.example", password=PASSWORD))
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("--config-file", str(configuration), "run", str(document), "--url", stack.gateway_url),
        *("--checks", "all", "--exclude-checks", UNCHECKED, "--phases", phases),
        *("--max-examples", EXAMPLES if role == "admin" else "3", "--seed", SEED),
        *("--request-timeout", "20", "--no-color"),
    ]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    report = "\n".join(line[:500] for line in (run.stdout + run.stderr).splitlines())
    assert run.returncode == 0, report
