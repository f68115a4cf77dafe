"""The API document as the fuzzer takes it: some services' part, and stricter than for people."""

import json
import re
from pathlib import Path
from typing import Any, Final

from deploy.gateway.routes import find

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "openapi.json"

_ENDLESS: Final = frozenset({"/api/feed/stream"})
"""Answers that go on for ever; `tests/e2e` follows them."""

_REFUSALS: Final = ("400", "413", "431")
"""What the gateway may refuse any request with. Under `default` any status at all would be a documented one."""


def operations_of(*services: str) -> dict[str, Any]:
    """The committed document with only the operations that these services answer."""
    document: dict[str, Any] = json.loads(DOCUMENT.read_text())
    document["paths"] = {
        path: item for path, item in document["paths"].items() if path not in _ENDLESS and _service_of(path) in services
    }
    for item in document["paths"].values():
        for operation in item.values():
            refused = operation["responses"].pop("default")
            operation["responses"] |= dict.fromkeys(_REFUSALS, refused)
    # The example is the demo users' password, and would be changed.
    document["components"]["schemas"]["PasswordChange"]["properties"]["current_password"].pop("examples")
    return document


def with_ids(document: dict[str, Any], ids: dict[str, list[str]]) -> dict[str, Any]:
    """Let path parameters be ids that exist, by the parameter's name; random ones would all be 404."""
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and parameter["name"] in ids:
                    parameter["examples"] = {
                        f"example-{number}": {"value": value} for number, value in enumerate(ids[parameter["name"]])
                    }
    return document


_LISTED: Final = {
    "/api/signals": ("signal_id", "/signals/0/id"),
    "/api/assignments": ("signal_id", "/assignments/0/signal_id"),
    "/api/auth/sessions": ("session_id", "/sessions/0/id"),
    "/api/ownership-rules": ("rule_id", "/rules/0/id"),
    "/api/feed": ("event_id", "/events/0/id"),
    "/api/metrics": ("metric_id", "/metrics/0/metric_id"),
}
"""What lists answer, and the parameter that it is good for. Not accounts: others are logged in with them."""

_MADE: Final = {
    "/api/users": "user_id",
    "/api/ownership-rules": "rule_id",
    "/api/signals/{signal_id}/interventions": "intervention_id",
}
"""What POST answers the id of."""

# It would have to know the present password, and the next one the new; `tests/auth/test_model.py` does.
_APART: Final = frozenset({"/api/auth/password"})


def with_links(document: dict[str, Any]) -> dict[str, Any]:
    """Say which request can follow which: with the id that a list or POST answered, and a write by more on the same."""
    for path in _APART:
        document["paths"].pop(path, None)
    operations = [
        (method, path, operation) for path, item in document["paths"].items() for method, operation in item.items()
    ]
    for method, path, operation in operations:
        found: dict[str, str] = {}
        if method == "get" and path in _LISTED:
            name, place = _LISTED[path]
            found[name] = f"$response.body#{place}"
        elif method == "post" and path in _MADE:
            found[_MADE[path]] = "$response.body#/id"
        if method != "get" or path.endswith("/assignment"):
            found |= {name: f"$request.path.{name}" for name in re.findall(r"\{(\w+)\}", path)}
        following = {
            other["operationId"]: {"operationId": other["operationId"], "parameters": {name: value}}
            for name, value in found.items()
            for _, place, other in operations
            if f"{{{name}}}" in place
        }
        for status, response in operation["responses"].items():
            if status.startswith("2") and following:
                response["links"] = following
    return document


def _service_of(path: str) -> str | None:
    route = find(re.sub(r"\{\w+\}", "7", path))
    return None if route is None else route.service
