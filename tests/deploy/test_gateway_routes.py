"""The one route table: who answers what."""

import importlib
import re
from collections.abc import Iterable, Iterator

import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from deploy.gateway.routes import ROUTES, SERVICES, Route, find
from shared.auth import required_permission
from tests.support.service import service_settings

OPERATIONS = ("/healthz", "/readyz", "/readyz/requests", "/metrics")
"""What operators ask of a service itself."""

PATHS = {
    "/api/auth/login": "auth",
    "/api/auth/me": "auth",
    "/api/auth/sessions/7": "auth",
    "/api/users": "auth",
    "/.well-known/jwks.json": "auth",
    "/api/signals": "signals",
    "/api/signals/7": "signals",
    "/api/signals/filter-options": "signals",
    "/api/signals/7/temporal": "signals",
    "/api/signals/7/children": "signals",
    "/api/metrics/losIndex": "signals",
    "/api/dead-letters/replay": "signals",
    "/api/signals/7/assign": "workflow",
    "/api/signals/7/assignment": "workflow",
    "/api/signals/7/assignment/history": "workflow",
    "/api/signals/7/status": "workflow",
    "/api/signals/7/snooze": "workflow",
    "/api/signals/7/comments": "workflow",
    "/api/signals/7/interventions": "workflow",
    "/api/assignments/bulk": "workflow",
    "/api/assignees": "workflow",
    "/api/ownership-rules/dry-run": "workflow",
    "/api/interventions/7/outcome": "workflow",
    "/api/feed": "activity",
    "/api/feed/stream": "activity",
    "/api/feed/unread-count": "activity",
    "/api/audit/gaps": "activity",
}


@pytest.mark.parametrize(("path", "service"), PATHS.items())
def test_paths_go_where_the_specification_says(path: str, service: str) -> None:
    route = find(path)
    assert route is not None
    assert route.service == service


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/api", "/api/", "/healthz", "/readyz", "/metrics", "/api/signalss", "/api/feedx", "/API/signals"),
        *("/.well-known/jwks.jsonx", "/.well-known/jwks.json/", "/api/assignees/7"),
    ],
)
def test_everything_else_goes_nowhere(path: str) -> None:
    assert find(path) is None


def test_few_paths_need_no_token_and_are_exact() -> None:
    public = {route.path for route in ROUTES if route.public}
    documents = {path for path in public if path.startswith("/api/docs/")}
    assert public - documents == {
        "/.well-known/jwks.json",
        "/api/auth/login",
        "/api/auth/refresh",
        "/api/openapi.json",
        "/api/asyncapi.json",
        "/api/docs",
    }
    assert documents
    assert not [route.path for route in ROUTES if route.public and (route.is_subtree or route.has_parameters)]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_no_route_hides_another(route: Route) -> None:
    assert find(re.sub(r"\{\w+\}", "7", route.base)) is route


def endpoints(routes: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    """Every endpoint, those too that the API document leaves out."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif (included := getattr(route, "original_router", None)) is not None:
            yield from endpoints(included.routes)


@pytest.mark.parametrize("service", SERVICES)
def test_every_endpoint_is_reached_and_a_token_is_asked_for_as_the_endpoint_does(service: str) -> None:
    module = importlib.import_module(f"services.{service}.main")
    settings_class = getattr(importlib.import_module(f"services.{service}.settings"), f"{service.title()}Settings")
    secrets = {"key_encryption_key": "JoDpvjfl3Iv9NgInjJbWQ6jwg/A81TIpGXyuoB5p8Nc="} if service == "auth" else {}
    app = module.create(service_settings(settings_class, "postgresql://a:b@127.0.0.1/x", **secrets))
    found = [endpoint for endpoint in endpoints(app.routes) if endpoint.path not in OPERATIONS]
    assert {endpoint.path for endpoint in found} >= set(app.openapi()["paths"])
    for endpoint in found:
        route = find(re.sub(r"\{\w+\}", "7", endpoint.path))
        assert route is not None, endpoint.path
        assert route.service == service, endpoint.path
        assert (required_permission(endpoint) is None) == route.public, endpoint.path
