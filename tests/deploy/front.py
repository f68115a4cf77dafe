"""A gateway in front of the real auth service and of services that echo, and what its tests ask of it."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import jsonschema

from deploy.local.envoy import EmbeddedEnvoy
from deploy.local.processes import Command, ManagedProcess, poll_until
from deploy.local.settings import LocalSettings
from services.auth.demo_users import PASSWORD
from shared.errors import Problem
from tests.auth.conftest import KEY
from tests.deploy.echo import Echo, echo
from tests.support.stack import free_settings, temporary_state_dir

LOGIN = {"email": "clinical@demo.example", "password": PASSWORD}


@dataclass
class Front:
    """A gateway and what is behind it."""

    settings: LocalSettings
    auth: ManagedProcess
    gateway: EmbeddedEnvoy
    client: httpx.Client
    services: dict[str, Echo]
    database_url: str

    def login(self) -> str:
        """An access token."""
        answer = self.client.post("/api/auth/login", json=LOGIN)
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["access_token"]
        return token


@contextmanager
def running(database_url: str, **environment: str) -> Iterator[Front]:
    """Everything but the auth service runs; that is up to the test."""
    with ExitStack() as stack:
        state_dir = stack.enter_context(temporary_state_dir())
        settings = free_settings(state_dir)
        for name, value in environment.items():
            stack.enter_context(_variable(name, value))
        services = {
            name: stack.enter_context(echo(name, settings.service_port(name)))
            for name in ("signals", "workflow", "activity")
        }
        auth = ManagedProcess("auth", _auth_command(settings, database_url), state_dir)
        stack.callback(auth.stop)
        gateway = EmbeddedEnvoy(settings)
        stack.callback(gateway.stop)
        client = stack.enter_context(httpx.Client(base_url=gateway.url, timeout=20))
        yield Front(settings, auth, gateway, client, services, database_url)


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    os.environ[name] = value
    yield
    del os.environ[name]


def _auth_command(settings: LocalSettings, database_url: str) -> Command:
    environment = auth_environment(database_url) | {"COMPASS_AUTH_PORT": str(settings.auth_port)}
    return Command([sys.executable, "-m", "services.auth.main"], environment=environment, stop_seconds=20)


def auth_environment(database_url: str) -> dict[str, str]:
    """What the auth service is configured by, its port aside."""
    return {
        **os.environ,
        "COMPASS_ENVIRONMENT": "local",
        "COMPASS_DATABASE_URL": database_url,
        "COMPASS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "COMPASS_KEY_ENCRYPTION_KEY": KEY,
        "COMPASS_BCRYPT_COST": "4",
    }


def wait_for_keys(front: Front) -> None:
    """Return once a login works and its token is known to the gateway."""

    def known() -> bool:
        answer = front.client.post("/api/auth/login", json=LOGIN)
        if answer.status_code != 200:
            return False
        token = answer.json()["access_token"]
        paths = ("/api/auth/me", "/api/signals")
        return all(front.client.get(path, headers=bearer(token)).status_code == 200 for path in paths)

    assert poll_until(known, 60, interval=0.2), front.auth.log_tail() + front.gateway.process.log_tail()


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"authorization": f"Bearer {token}"}


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem details of an answer that has to be this one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    jsonschema.validate(body, Problem.model_json_schema())
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == f"urn:quality-compass:problem:{code}"
    return body


def raw(front: Front, request: bytes) -> tuple[int, bytes]:
    """What is answered to these very bytes."""
    with socket.create_connection(("127.0.0.1", front.settings.gateway_port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
            head, _, body = answer.partition(b"\r\n\r\n")
            if b"content-length: %d\r\n" % len(body) in head + b"\r\n":
                break
    return int(head.split()[1]), body


def told(answer: httpx.Response) -> dict[str, list[str]]:
    """The headers that reached the service."""
    assert answer.status_code == 200, answer.text
    seen: dict[str, list[str]] = {}
    for name, value in answer.json()["headers"]:
        seen.setdefault(name, []).append(value)
    return seen
