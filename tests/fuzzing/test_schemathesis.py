"""Every operation of the API document through the gateway, as each role, with requests that nobody thought of.

Marked `fuzzing` and left out of an ordinary run: `make fuzz`, `make fuzz SERVICE=signals`. The same seed makes the
same requests; SEED= and EXAMPLES= choose others and more.
"""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.gateway.routes import SERVICES
from deploy.local.stack import LocalStack
from tests.e2e.api import PASSWORD
from tests.fuzzing.document import operations_of, with_ids, with_links

pytestmark = [pytest.mark.fuzzing, pytest.mark.timeout(900)]

SEED = os.environ.get("COMPASS_FUZZ_SEED", "1")
EXAMPLES = os.environ.get("COMPASS_FUZZ_EXAMPLES", "10")

logger = logging.getLogger(__name__)

ROLES = {"nursing": "nursing_leadership", "clinical": "clinical_leadership"}
"""Where they are called otherwise than their demo users."""

# An admin is looked at most closely: the viewer's answers are mostly 403, and those of the three leaderships the same.
PHASES = {
    "admin": "examples,coverage,fuzzing",
    "nursing": "examples,fuzzing",
    "viewer": "examples,fuzzing",
    "clinical": "examples",
    "administration": "examples",
}

# What the schema of a request cannot say (a cursor is one that was given out, a role fits its bearer) is 422 and right.
UNCHECKED = "positive_data_acceptance"

# Accounts are deactivated and assignments taken off: both are there afterwards. What one has made others may end, and
# requests without a token are those of `tests/e2e/test_access_matrix.py`.
UNCHECKED_IN_CHAINS = ("use_after_free", "ensure_resource_availability", "ignored_auth")

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
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422, 428, 429, 431]
"""


def fuzz(stack: LocalStack, document: dict[str, Any], login: dict[str, str], place: Path, *options: str) -> None:
    """Let schemathesis send requests to the gateway, logged in like that."""
    described = place / "openapi.json"
    described.write_text(json.dumps(document))
    configuration = place / "schemathesis.toml"
    configuration.write_text(CONFIGURATION.format(**login))
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("--config-file", str(configuration), "run", str(described), "--url", stack.gateway_url),
        *("--checks", "all", "--seed", SEED, "--request-timeout", "20", "--no-color", *options),
    ]
    run = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    report = "\n".join(line[:500] for line in (run.stdout + run.stderr).splitlines())
    logger.info("%s", report)
    assert run.returncode == 0, report


@pytest.mark.parametrize("role", PHASES)
@pytest.mark.parametrize("service", SERVICES)
def test_no_request_surprises_a_service(
    stack: LocalStack, known_ids: dict[str, list[str]], service: str, role: str, tmp_path: Path
) -> None:
    document = with_ids(operations_of(service), known_ids)
    examples = EXAMPLES if role == "admin" else "3"
    options = ("--exclude-checks", UNCHECKED, "--phases", PHASES[role], "--max-examples", examples)
    fuzz(stack, document, {"email": f"{role}@demo.example", "password": PASSWORD}, tmp_path, *options)


def somebody(stack: LocalStack, role: str) -> dict[str, str]:
    """The login of a new account, whose sessions may end at any time without anybody else being logged out."""
    with httpx.Client(base_url=stack.gateway_url, timeout=30) as client:
        keeper = {"email": "admin@demo.example", "password": PASSWORD}
        token = client.post("/api/auth/login", json=keeper).raise_for_status().json()["access_token"]
        new = {"email": f"{uuid4().hex}@hospital.example", "name": "Somebody", "role": ROLES.get(role, role)}
        made = (
            client.post("/api/users", json=new, headers={"authorization": f"Bearer {token}"}).raise_for_status().json()
        )
        login = {"email": made["email"], "password": f"tidal-{uuid4().hex}"}
        first = {"email": made["email"], "password": made["initial_password"], "new_password": login["password"]}
        client.post("/api/auth/login", json=first).raise_for_status()
    return login


@pytest.mark.parametrize("role", PHASES)
def test_no_chain_of_requests_surprises_anybody(
    stack: LocalStack, known_ids: dict[str, list[str]], role: str, tmp_path: Path
) -> None:
    """What one request answers goes into the next, across all services.

    Signals are listed, assigned, moved and commented on, accounts and rules made, changed and taken away, sessions
    begun and ended, by somebody whose own sessions are among them.
    """
    document = with_links(with_ids(operations_of(*SERVICES), known_ids))
    unchecked = ",".join((UNCHECKED, *UNCHECKED_IN_CHAINS))
    chains = int(EXAMPLES) * (10 if role == "admin" else 2)
    options = ("--exclude-checks", unchecked, "--phases", "stateful", "--max-examples", str(chains))
    fuzz(stack, document, somebody(stack, role), tmp_path, *options)
