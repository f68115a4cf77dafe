"""Who may do what: every operation of the API document with every kind of token, through the gateway and without it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.gateway.openapi import operations
from deploy.gateway.routes import SERVICES, find
from deploy.local.processes import poll_until
from deploy.local.stack import LocalStack
from shared.auth import PERMISSIONS, Permission
from shared.events.vocabulary import UserRole
from tests.deploy.test_openapi import PUBLIC
from tests.e2e.tokens import ROLES, broken, login, signed, signer

OPERATIONS = [
    (method.upper(), path, operation)
    for method, path, operation in operations(
        json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())["paths"]
    )
]
ROLE_OF = {
    "admin": UserRole.ADMIN,
    "clinical": UserRole.CLINICAL_LEADERSHIP,
    "nursing": UserRole.NURSING_LEADERSHIP,
    "administration": UserRole.ADMINISTRATION,
    "viewer": UserRole.VIEWER,
}
ENDS_SESSIONS = {("POST", "/api/auth/logout"), ("DELETE", "/api/auth/sessions")}
"""After these a token is good for nothing more. They come last."""

OPEN_ANSWERS = {"/.well-known/jwks.json": 200, "/api/auth/login": 422, "/api/auth/refresh": 422}
"""What is answered to an empty body where no token is looked at."""


@dataclass
class Tokens:
    """Tokens by what they are; ``refused`` with the code of the refusal."""

    refused: dict[str, tuple[str, str]]
    roles: dict[str, str]


@pytest.fixture(scope="module")
def tokens(stack: LocalStack) -> Tokens:
    """All of them, once every service has heard of the deactivation and the revocation."""
    key = signer(stack)
    refused = broken(key)
    with httpx.Client(base_url=stack.gateway_url, timeout=30) as client:
        admin = {"authorization": f"Bearer {login(stack, 'admin')}"}
        new = {"email": f"{uuid4().hex}@hospital.example", "name": "Gone Tomorrow", "role": "admin"}
        made = client.post("/api/users", json=new, headers=admin)
        assert made.status_code == 201, made.text
        user = made.json()["id"] if "id" in made.json() else made.json()["user"]["id"]
        deactivated = signed(key, sub=user)
        assert _eventually(stack, deactivated, 200)
        assert client.delete(f"/api/users/{user}", headers=admin).status_code in (200, 204)
        revoked = login(stack, "viewer")
        assert client.post("/api/auth/logout", headers={"authorization": f"Bearer {revoked}"}).status_code == 204
    for token in (deactivated, revoked):
        assert _eventually(stack, token, 401)
    refused |= {"deactivated": (deactivated, "revoked_token"), "revoked": (revoked, "revoked_token")}
    return Tokens(refused, {role: login(stack, role) for role in ROLES})


def _eventually(stack: LocalStack, token: str, status: int) -> bool:
    """Whether every service comes to answer a token so, by a path that every role may read."""
    paths = {"signals": "/api/metrics", "workflow": "/api/assignments", "activity": "/api/feed", "auth": "/api/auth/me"}
    headers = {"authorization": f"Bearer {token}"}

    def all_do() -> bool:
        answers = [httpx.get(f"{stack.service(name).url}{paths[name]}", headers=headers) for name in SERVICES]
        # The account behind a token that nobody issued may be missing in auth itself: 404, but not refused.
        return all(answer.status_code == status or (status == 200 and answer.status_code == 404) for answer in answers)

    return poll_until(all_do, 20, interval=0.1)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """One for all addresses."""
    with httpx.Client(timeout=30) as client:
        yield client


def answer(client: httpx.Client, url: str, method: str, path: str, token: str | None) -> tuple[int, str]:
    """Status and, for a failure, code. The body is empty, the ids are nobody's, a stream is not waited for."""
    filled = re.sub(r"\{\w+\}", str(uuid4()), path)
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    body: Any = {} if method in ("POST", "PUT", "PATCH") else None
    with client.stream(method, url + filled, headers=headers, json=body) as response:
        if response.status_code < 400:
            return response.status_code, ""
        response.read()
        return response.status_code, response.json()["code"]


OPERATIONS.sort(key=lambda operation: operation[:2] in ENDS_SESSIONS)


@pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=[operation["operationId"] for _, _, operation in OPERATIONS]
)
def test_each_token_gets_what_it_is_good_for(
    stack: LocalStack,
    tokens: Tokens,
    client: httpx.Client,
    method: str,
    path: str,
    operation: dict[str, Any],
) -> None:
    route = find(re.sub(r"\{\w+\}", "7", path))
    assert route is not None
    for url in (stack.gateway_url, stack.service(route.service).url):
        refused = {what: answer(client, url, method, path, token) for what, (token, _) in tokens.refused.items()}
        refused["no token"] = answer(client, url, method, path, None)
        if (method.lower(), path) in PUBLIC:
            assert {status for status, _ in refused.values()} == {OPEN_ANSWERS[path]}
            continue
        codes = {what: code for what, (_, code) in tokens.refused.items()} | {"no token": "missing_token"}
        assert refused == {what: (401, code) for what, code in codes.items()}

        permission = Permission(operation["security"][0]["bearer"][0])
        for role in ROLES:
            token = login(stack, role) if (method, path) in ENDS_SESSIONS else tokens.roles[role]
            status, code = answer(client, url, method, path, token)
            if permission in PERMISSIONS[ROLE_OF[role]]:
                assert status not in (401, 403), (role, status, code)
                assert status < 500, (role, status, code)
            else:
                assert (status, code) == (403, "forbidden"), role
