"""The one OpenAPI 3.1 document of what the gateway offers, merged from those of all services.

Each service describes what it answers by itself; here sections, names and the failures that are the same everywhere
are put together, so that a frontend developer reads one document and a generator makes one client of it.
"""

import base64
import json
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI

from deploy.gateway.openapi_problems import RESPONSES, add_problems
from deploy.gateway.routes import SERVICES, find
from services.activity.main import create as create_activity
from services.activity.settings import ActivitySettings
from services.auth.main import create as create_auth
from services.auth.settings import KEY_BYTES, AuthSettings
from services.signals.main import create as create_signals
from services.signals.settings import SignalsSettings
from services.workflow.main import create as create_workflow
from services.workflow.settings import WorkflowSettings
from shared.settings import Environment

METHODS: Final = ("get", "post", "put", "patch", "delete")

_DESCRIPTION: Final = """\
Signals of an analytics engine, the work on them, one feed of all that happens, and the audit log behind it.

Log in with `POST /api/auth/login` and send the access token as `Authorization: Bearer ...`. Times are RFC 3339 with
offset, decimals are JSON numbers. Single resources carry an `ETag`; writes accept `If-Match`, and where they say so an
`Idempotency-Key`. Every failure is answered with problem details (RFC 9457), whose `code` is a stable word to act on
and whose `request_id` finds the request in the logs. What travels over Kafka is described in `/api/docs/events`.
"""

_SECTIONS: Final = {
    "Signals": "What the engine found, classified, with its history and its drill-down.",
    "Metrics": "The metric registry: what each figure means, and which direction is better.",
    "Dead letters": "Messages that could not be processed: why, and once more.",
    "Workflow": "Who works on which signal, and how far it is.",
    "Comments": "What people say about a signal.",
    "Interventions": "What was done about a signal, and what came of it.",
    "Ownership rules": "Who gets which signals without being asked.",
    "Feed": "All that happens, as it happens; what the caller has read.",
    "Audit": "Every event of every service, complete and unchangeable.",
    "Auth": "Login, sessions, the caller's own account, and the keys that verify tokens.",
    "Users": "Accounts, for those who manage them.",
}

# The first that matches the path.
_SECTION_OF: Final = (
    (r"/api/signals/\{\w+\}/comments(/.*)?", "Comments"),
    (r"/api/(signals/\{\w+\}/)?interventions(/.*)?", "Interventions"),
    (r"/api/ownership-rules(/.*)?", "Ownership rules"),
    (r"/api/metrics(/.*)?", "Metrics"),
    (r"/api/dead-letters(/.*)?", "Dead letters"),
    (r"/api/feed(/.*)?", "Feed"),
    (r"/api/audit(/.*)?", "Audit"),
    (r"/api/users(/.*)?", "Users"),
)
_SECTION_OF_SERVICE: Final = {"signals": "Signals", "workflow": "Workflow", "activity": "Feed", "auth": "Auth"}

# Where a handler's name, good inside of its service, says too little or the same as another's beside all others.
_OPERATION_IDS: Final = {
    ("get", "/.well-known/jwks.json"): "get_jwks",
    ("get", "/api/audit"): "list_audit_entries",
    ("get", "/api/audit/export"): "export_audit",
    ("get", "/api/audit/gaps"): "list_audit_gaps",
    ("get", "/api/auth/me"): "get_me",
    ("get", "/api/feed"): "list_feed",
    ("get", "/api/feed/stream"): "stream_feed",
    ("get", "/api/feed/unread-count"): "get_unread_count",
    ("post", "/api/feed/mark-read"): "mark_feed_read",
    ("post", "/api/feed/{event_id}/mark-read"): "mark_event_read",
    ("get", "/api/signals/{signal_id}/history"): "get_signal_history",
    ("get", "/api/signals/{signal_id}/assignment/history"): "get_assignment_history",
    ("post", "/api/signals/{signal_id}/assign"): "assign_signal",
    ("delete", "/api/signals/{signal_id}/assignment"): "unassign_signal",
    ("get", "/api/signals/{signal_id}/insights"): "list_insights",
    ("get", "/api/signals/facilities"): "list_facilities",
    ("get", "/api/signals/summary"): "get_signals_summary",
    ("post", "/api/signals/{signal_id}/snooze"): "snooze_signal",
    ("delete", "/api/signals/{signal_id}/snooze"): "wake_signal",
    ("post", "/api/dead-letters/replay"): "replay_dead_letters",
    ("post", "/api/assignments/bulk"): "change_many_assignments",
    ("get", "/api/assignments/summary"): "get_assignments_summary",
    ("post", "/api/interventions/{intervention_id}/outcome"): "fix_intervention_outcome",
    ("get", "/api/ownership-rules"): "list_ownership_rules",
    ("post", "/api/ownership-rules"): "create_ownership_rule",
    ("post", "/api/ownership-rules/dry-run"): "try_ownership_rules",
    ("get", "/api/ownership-rules/{rule_id}"): "get_ownership_rule",
    ("put", "/api/ownership-rules/{rule_id}"): "replace_ownership_rule",
    ("delete", "/api/ownership-rules/{rule_id}"): "delete_ownership_rule",
    ("get", "/api/ownership-rules/{rule_id}/versions"): "list_ownership_rule_versions",
    ("get", "/api/feed/digest"): "get_feed_digest",
}

_SCHEMA: Final = "#/components/schemas/"
_OF_FASTAPI: Final = frozenset({"HTTPValidationError", "ValidationError"})
"""How FastAPI would describe a bad request; ours are problem details."""


def applications() -> dict[str, FastAPI]:
    """Every service, built and not started: nothing is connected to."""
    nowhere: dict[str, Any] = {
        "environment": Environment.LOCAL,
        "database_url": "postgresql://nobody@127.0.0.1/nothing",
        "kafka_bootstrap_servers": "127.0.0.1:1",
    }
    key = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    return {
        "signals": create_signals(SignalsSettings(**nowhere)),
        "workflow": create_workflow(WorkflowSettings(**nowhere)),
        "activity": create_activity(ActivitySettings(**nowhere)),
        "auth": create_auth(AuthSettings(**nowhere, key_encryption_key=key)),
    }


def document() -> dict[str, Any]:
    """The merged document as JSON-ready data; without addresses of servers, since it is served by them."""
    apps = applications()
    if set(apps) != set(SERVICES):
        raise ValueError(f"the route table knows the services {SERVICES}, this module {tuple(apps)}")
    schemas, paths = _merge({name: app.openapi() for name, app in apps.items()})
    names = _handler_names(apps)
    for method, path, operation in operations(paths):
        operation["operationId"] = names[method, path]
        operation["tags"] = [_section(path)]
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _never_null(parameter["schema"])
        add_problems(path, method, operation)
    sections = list(_SECTIONS)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Quality Compass", "version": "1", "description": _DESCRIPTION},
        "tags": [{"name": name, "description": text} for name, text in _SECTIONS.items()],
        "paths": dict(sorted(paths.items(), key=lambda item: (sections.index(_section(item[0])), item[0]))),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": RESPONSES,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The access token of a login. Beside it stands the permission that is needed.",
                }
            },
        },
    }


def render() -> str:
    """The document as the text of the committed file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def operations(paths: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every operation."""
    for path, item in paths.items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def _never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter may be absent, but text in a URL or a header is never null, which `str | None` seems to say."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == len(schema.get("anyOf", ())):
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
    return rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


def _section(path: str) -> str:
    for pattern, section in _SECTION_OF:
        if re.fullmatch(pattern, path):
            return section
    route = find(re.sub(r"\{\w+\}", "7", path))
    if route is None:
        raise ValueError(f"the route table does not know {path}")
    return _SECTION_OF_SERVICE[route.service]


def _merge(documents: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """All schemas and all paths. Schemas that are alike are one; others of one name are told apart by service."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for service, single in documents.items():
        for name, schema in single["components"]["schemas"].items():
            found.setdefault(name, []).append((service, schema))
    apart = {name for name, kinds in found.items() if any(kind[1] != kinds[0][1] for kind in kinds)}
    # What refers to schemas that differ differs too, though it looks alike.
    while more := {
        name
        for name, kinds in found.items()
        if name not in apart and len(kinds) > 1 and _references(kinds[0][1]) & apart
    }:
        apart |= more
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for service, single in documents.items():
        names = {name: f"{service.title()}{name}" for name in apart}
        for name, schema in single["components"]["schemas"].items():
            if name not in _OF_FASTAPI:
                schemas[names.get(name, name)] = _renamed(schema, names)
        for path, item in single["paths"].items():
            for method, operation in item.items():
                if method in paths.setdefault(path, {}):
                    raise ValueError(f"two services answer {method.upper()} {path}")
                paths[path][method] = _renamed(operation, names)
    return schemas, paths


def _references(part: Any) -> set[str]:
    return set(re.findall(rf'"{_SCHEMA}(\w+)"', json.dumps(part)))


def _renamed(part: Any, names: dict[str, str]) -> Any:
    if isinstance(part, dict):
        return {key: _renamed(value, names) for key, value in part.items()}
    if isinstance(part, list):
        return [_renamed(value, names) for value in part]
    if isinstance(part, str) and part.startswith(_SCHEMA):
        name = part.removeprefix(_SCHEMA)
        return _SCHEMA + names.get(name, name)
    return part


def _handler_names(apps: dict[str, FastAPI]) -> dict[tuple[str, str], str]:
    """The name of each operation: its handler's, unless two handlers share it; those are named by method and path."""
    handlers = {
        (method, path): operation["operationId"]
        for app in apps.values()
        for method, path, operation in operations(app.openapi()["paths"])
    }
    # FastAPI appends path and method to the handler's name.
    names = {
        place: _OPERATION_IDS.get(place, unique.removesuffix("_" + _words(place[1]) + "_" + place[0]))
        for place, unique in handlers.items()
    }
    shared = {name for name, count in Counter(names.values()).items() if count > 1}
    return {place: _name_of(*place) if name in shared else name for place, name in names.items()}


def _words(path: str) -> str:
    return re.sub(r"\W", "_", path).removeprefix("_")


def _name_of(method: str, path: str) -> str:
    words = path.removeprefix("/api/").replace("-", "_").split("/")
    named = [f"by_{word[1:-1]}" if word.startswith("{") else word for word in words]
    return "_".join([method, *named])
