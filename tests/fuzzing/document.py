"""The API document as the fuzzer takes it: one service's part, and stricter than for people."""

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


def operations_of(service: str) -> dict[str, Any]:
    """The committed document with only the operations that one service answers."""
    document: dict[str, Any] = json.loads(DOCUMENT.read_text())
    document["paths"] = {
        path: item for path, item in document["paths"].items() if path not in _ENDLESS and _answers(service, path)
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


def _answers(service: str, path: str) -> bool:
    route = find(re.sub(r"\{\w+\}", "7", path))
    return route is not None and route.service == service
