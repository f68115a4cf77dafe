"""No log of any process holds a password, a token or a key, however much it says and whatever goes wrong."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from joserfc.jwk import ECKey

from deploy.local.processes import poll_until
from deploy.local.stack import LocalStack
from tests.e2e.reconfigured import reconfigured
from tests.e2e.tokens import login, signer

SERVICES = ("signals", "workflow", "activity", "auth")


class Secrets:
    """What must not be found, by what it is."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def add(self, what: str, secret: str) -> str:
        """Remember one; of a token its signature too, by which half of it could be told."""
        self.found[what] = secret
        if secret.count(".") == 2:
            self.found[f"{what}, signature"] = secret.rsplit(".", 1)[1]
        return secret

    def tokens(self, what: str, answer: httpx.Response) -> dict[str, str]:
        """The tokens of a login or a refresh."""
        assert answer.status_code == 200, answer.text
        body: dict[str, str] = answer.json()
        self.add(f"{what}: access token", body["access_token"])
        self.add(f"{what}: refresh token", body["refresh_token"])
        return body


@pytest.fixture
def client(stack: LocalStack) -> Iterator[httpx.Client]:
    """A caller of the gateway while all processes tell everything."""
    with (
        reconfigured(stack, SERVICES, COMPASS_LOG_LEVEL="DEBUG"),
        httpx.Client(base_url=stack.gateway_url, timeout=60) as client,
    ):
        yield client


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"authorization": f"Bearer {token}"}


def new_account(client: httpx.Client, stack: LocalStack, secrets: Secrets) -> tuple[str, str]:
    """The address of an account that has chosen its password, and that password."""
    admin = secrets.add("the admin's access token", login(stack, "admin"))
    email = f"{uuid4().hex}@hospital.example"
    new = {"email": email, "name": "Somebody", "role": "viewer"}
    made = client.post("/api/users", json=new, headers=bearer(admin))
    assert made.status_code == 201, made.text
    initial = secrets.add("the initial password", made.json()["initial_password"])
    chosen = secrets.add("the chosen password", f"lantern-{uuid4().hex[:20]}")
    body = {"email": email, "password": initial}
    assert client.post("/api/auth/login", json=body).status_code == 403
    secrets.tokens("the first login", client.post("/api/auth/login", json=body | {"new_password": chosen}))
    return email, chosen


def go_through_a_session(client: httpx.Client, email: str, password: str, secrets: Secrets) -> None:
    """Log in, refresh, come back with the old token, change the password; and do it wrong in many ways."""
    wrong = secrets.add("a wrong password", f"wrong-{uuid4().hex[:20]}")
    assert client.post("/api/auth/login", json={"email": email, "password": wrong}).status_code == 401
    first = secrets.tokens("login", client.post("/api/auth/login", json={"email": email, "password": password}))
    body = {"refresh_token": first["refresh_token"]}
    second = secrets.tokens("refresh", client.post("/api/auth/refresh", json=body))
    third = secrets.tokens(
        "second refresh", client.post("/api/auth/refresh", json={"refresh_token": second["refresh_token"]})
    )
    assert client.post("/api/auth/refresh", json=body).status_code == 401
    go_wrong(client, third["access_token"], password, secrets)

    again = secrets.tokens("login again", client.post("/api/auth/login", json={"email": email, "password": password}))
    chosen = secrets.add("the next password", f"harbour-{uuid4().hex[:20]}")
    change = {"current_password": password, "new_password": chosen}
    answer = client.post("/api/auth/password", json=change, headers=bearer(again["access_token"]))
    assert answer.status_code < 300, answer.text


def go_wrong(client: httpx.Client, token: str, password: str, secrets: Secrets) -> None:
    """Requests that are refused, each with a secret in another place."""
    forged = secrets.add("a forged token", f"{token[:-8]}AAAAAAAA")
    basic = secrets.add("basic credentials", base64.b64encode(f"somebody:{password}".encode()).decode())
    refused: list[dict[str, Any]] = [
        {"url": "/api/signals", "headers": bearer(forged)},
        {"url": "/api/signals", "headers": {"authorization": f"Basic {basic}"}},
        {"url": "/api/signals", "params": {"access_token": token, "password": password}},
        {"url": "/api/auth/login", "method": "POST", "json": {"email": "x@y.example", "password": [password]}},
        {"url": "/api/auth/login", "method": "POST", "json": {"email": password, "password": password, "x": token}},
        {"url": "/api/auth/login", "method": "POST", "content": f'{{"password": "{password}"'.encode()},
        {"url": "/api/auth/refresh", "method": "POST", "json": {"refresh_token": {"a": token}}},
        {"url": "/api/auth/refresh", "method": "POST", "json": {"refresh_token": token[:190]}},
        {"url": "/api/users", "method": "POST", "headers": bearer(token), "json": {"password": password}},
    ]
    for request in refused:
        answer = client.request(**({"method": "GET"} | request))
        assert 400 <= answer.status_code < 500, request["url"]
    for path in ("/api/signals", "/api/feed", "/api/assignments", "/api/auth/me"):
        client.get(path, headers=bearer(token))


def try_without_database(client: httpx.Client, stack: LocalStack, email: str, password: str, token: str) -> None:
    """What fails for want of the database, with all that its exceptions could say."""
    stack.postgres.stop()
    try:
        client.post("/api/auth/login", json={"email": email, "password": password})
        client.post("/api/auth/refresh", json={"refresh_token": token})
    finally:
        stack.postgres.start()
    for name in SERVICES:
        stack.service(name).wait_until_ready(60)


def texts(stack: LocalStack) -> dict[Path, str]:
    """Every log of the stack, whole."""
    folder = stack.settings.local_dir / "logs"
    return {path: path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()}


@pytest.mark.timeout(400)
def test_no_log_holds_a_secret(client: httpx.Client, stack: LocalStack) -> None:
    secrets = Secrets()
    environment = stack.service_environment("auth")
    secrets.add("the key encryption key", environment["COMPASS_KEY_ENCRYPTION_KEY"])
    stored = json.loads((stack.settings.local_dir / "secrets.json").read_text())
    secrets.add("the database's password", stored["postgres"])
    for role, password in stored["roles"].items():
        secrets.add(f"the password of {role}", password)
    key = signer(stack).key
    assert isinstance(key, ECKey)
    secrets.add("the private key", str(key.as_dict(private=True)["d"]))

    email, password = new_account(client, stack, secrets)
    go_through_a_session(client, email, password, secrets)
    try_without_database(
        client, stack, email, secrets.found["the next password"], secrets.found["login: refresh token"]
    )
    marker = f"/api/{uuid4().hex}"
    client.get(marker)

    # Envoy writes its log every ten seconds.
    assert poll_until(lambda: any(marker in text for text in texts(stack).values()), 30, interval=0.5)
    logs = texts(stack)
    assert {"auth.log", "gateway.log", "signals.log", "workflow.log", "activity.log"} <= {path.name for path in logs}
    told = [
        f"{what} in {path.name}"
        for path, text in logs.items()
        for what, secret in secrets.found.items()
        if secret in text
    ]
    assert told == []
    assert '"level": "debug"' in "".join(logs.values()), "nothing was logged at the level of this test"
