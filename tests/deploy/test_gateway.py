"""The gateway: the real Envoy in front of the real auth service and of services that echo."""

import json
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from deploy.gateway.replies import UNLESS_GIVEN, security_headers
from deploy.gateway.settings import GatewaySettings
from deploy.local.processes import poll_until
from services.auth.demo_users import PASSWORD
from tests.deploy.front import LOGIN, Front, bearer, problem, raw, running, told, wait_for_keys
from tests.deploy.signing import fetch, stored_signer


@pytest.fixture(scope="module")
def front(database_url: str) -> Iterator[Front]:
    """All of it, ready."""
    with running(database_url) as front:
        front.auth.start()
        front.gateway.start()
        wait_for_keys(front)
        yield front


@pytest.fixture(scope="module")
def token(front: Front) -> str:
    """An access token of the demo user who leads clinically."""
    return front.login()


def test_a_login_through_the_gateway_gives_a_token_that_it_takes(front: Front, token: str) -> None:
    me = front.client.get("/api/auth/me", headers=bearer(token))
    assert me.json()["email"] == LOGIN["email"]
    assert front.client.get("/.well-known/jwks.json").headers["cache-control"] == "public, max-age=60"


def test_requests_reach_their_service_with_token_and_trace(front: Front, token: str) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for path, service in {
        "/api/signals/7?a=b": "signals",
        "/api/signals/7/assignment/history": "workflow",
        "/api/feed": "activity",
    }.items():
        answer = front.client.get(path, headers=bearer(token) | {"traceparent": trace})
        headers = told(answer)
        assert (answer.json()["service"], answer.json()["path"]) == (service, path)
        assert headers["authorization"] == [f"Bearer {token}"]
        assert headers["traceparent"] == [trace]
        assert answer.headers.get_list("x-request-id") == headers["x-request-id"]


IDENTITY = {
    "x-user-id": "1",
    "X-User-Role": "admin",
    "x-user": "admin",
    "x-authenticated-user": "admin",
    "x-auth-request-user": "admin",
    "x-session-id": "1",
    "x-role": "admin",
    "x-jwt-payload": "e30",
    "x-client-address": "8.8.8.8",
    "x-remote-user": "admin",
    "x-forwarded-user": "admin",
}


def test_nobody_can_claim_to_be_somebody(front: Front, token: str) -> None:
    headers = told(front.client.get("/api/signals", headers=bearer(token) | IDENTITY))
    assert headers.pop("x-client-address") == ["127.0.0.1"]
    assert not {name.lower() for name in IDENTITY} & set(headers)


def test_identity_headers_are_stripped_where_no_token_is_needed(front: Front) -> None:
    answer = front.client.post("/api/auth/login", json=LOGIN, headers=IDENTITY | {"x-client-address": "9.9.9.9"})
    assert answer.status_code == 200
    addresses = fetch(front.database_url, "SELECT DISTINCT address FROM sessions")
    assert [row["address"] for row in addresses] == ["127.0.0.1"]


def test_a_request_id_is_the_gateways_own(front: Front, token: str) -> None:
    answer = front.client.get("/api/signals", headers=bearer(token) | {"x-request-id": "mine"})
    assert answer.headers["x-request-id"] != "mine"
    assert told(answer)["x-request-id"] == [answer.headers["x-request-id"]]
    refused = problem(front.client.get("/api/signals", headers={"x-request-id": "mine"}), 401, "missing_token")
    assert refused["request_id"] not in (None, "mine")


def forged(front: Front, token: str, **changed: Any) -> str:
    """The token's claims with changes, under the service's own key."""
    signer = stored_signer(front.database_url)
    claims = jwt.decode(token, signer.key, algorithms=["ES256"]).claims | changed
    return jwt.encode({"alg": "ES256", "kid": signer.kid}, claims, signer.key, algorithms=["ES256"])


BAD_CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": int(time.time()) - 60}, "expired_token"),
    "not yet valid": ({"nbf": int(time.time()) + 3600}, "invalid_token"),
    "other audience": ({"aud": "another"}, "invalid_token"),
    "other issuer": ({"iss": "another"}, "invalid_token"),
}


@pytest.mark.parametrize("what", BAD_CLAIMS)
def test_signed_tokens_with_bad_claims_are_refused(front: Front, token: str, what: str) -> None:
    claims, code = BAD_CLAIMS[what]
    before = list(front.services["signals"].requests)
    refused = problem(front.client.get("/api/signals", headers=bearer(forged(front, token, **claims))), 401, code)
    assert refused["request_id"]
    assert front.services["signals"].requests == before


def test_the_same_signer_without_bad_claims_is_taken(front: Front, token: str) -> None:
    assert front.client.get("/api/signals", headers=bearer(forged(front, token))).status_code == 200


def unsigned(token: str) -> str:
    header = urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return f"{header}.{token.split('.')[1]}."


def with_other_key(_: str) -> str:
    key = ECKey.generate_key("P-256", private=True)
    claims = {"iss": "quality-compass", "aud": "quality-compass", "sub": "x", "exp": 10**10}
    return jwt.encode({"alg": "ES256", "kid": "other"}, claims, key)


BAD_TOKENS: dict[str, Callable[[str], str]] = {
    "tampered signature": lambda token: token[:-20] + ("A" * 20),
    "tampered payload": lambda token: token.replace(token.split(".")[1], token.split(".")[1][:-4] + "AAAA"),
    "unsigned": unsigned,
    "unknown key": with_other_key,
    "no token at all": lambda _: "x",
}


@pytest.mark.parametrize("what", BAD_TOKENS)
def test_bad_tokens_do_not_reach_a_service(front: Front, token: str, what: str) -> None:
    before = list(front.services["signals"].requests)
    answer = front.client.get("/api/signals", headers=bearer(BAD_TOKENS[what](token)))
    problem(answer, 401, "invalid_token")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert front.services["signals"].requests == before


def test_a_token_in_the_query_is_none(front: Front, token: str) -> None:
    problem(front.client.get(f"/api/signals?access_token={token}"), 401, "missing_token")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/", "/nothing", "/api", "/api/signalss"])
def test_unknown_paths_and_operations_are_404(front: Front, token: str, path: str) -> None:
    for headers in ({}, bearer(token)):
        refused = problem(front.client.get(path, headers=headers), 404, "not_found")
        assert refused["request_id"]


TRICKS = [
    "//api//auth//me",
    "/api/auth/login/../me",
    "/api/auth/login/%2e%2e/me",
    "/api/auth/login/..%2fme",
    "/api/auth/login/..;/me",
    "/api/auth/login;/../me",
    "/api/auth/login%2f..%2fme",
    "/api/auth/login%5c..%5cme",
    "/api/auth\\me",
    "/api/auth/me.",
    "/api/auth/me%00",
    "/api/auth/me%0d%0ax",
    "/API/AUTH/ME",
    "/api/auth/Login",
    "/api/auth/login/",
    "/.well-known/jwks.json/../../api/signals",
    "/.well-known/jwks.json/%2e%2e/%2e%2e/api/signals",
    "/.well-known/..%2f..%2fapi/signals",
    "/./api/./signals",
    "/api/x/../signals",
    "/api/auth/../../healthz",
    "/api/signals/..%2f..%2f..%2fmetrics",
    "http://127.0.0.1/api/signals",
]


@pytest.mark.parametrize("path", TRICKS)
def test_no_spelling_of_a_path_avoids_the_token(front: Front, path: str) -> None:
    before = {name: list(service.requests) for name, service in front.services.items()}
    status, body = raw(front, f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    assert status in (400, 401, 404), body
    assert {name: service.requests for name, service in front.services.items()} == before


@pytest.mark.parametrize("path", ["/api/auth/../../healthz", "/api/signals/../../metrics", "/healthz?", "/%68ealthz"])
def test_no_spelling_of_a_path_reaches_operations(front: Front, token: str, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    status, body = raw(front, request.encode())
    assert status in (400, 404), body


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /api/signals HTTP/1.1\r\nhost: x\r\nx_user_id: 1\r\nconnection: close\r\n\r\n",
        b"POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /api/signals HTTP/1.1\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET /api/signals HTTP/1.1\r\nhost: x\r\nx: \x00\r\n\r\n",
    ],
)
def test_malformed_requests_are_refused(front: Front, request_bytes: bytes) -> None:
    status, body = raw(front, request_bytes)
    assert status == 400
    assert json.loads(body)["code"] == "bad_request"


def test_large_requests_are_refused(front: Front, token: str) -> None:
    before = list(front.services["signals"].requests)
    problem(
        front.client.post("/api/signals", headers=bearer(token), content=bytes(2_000_000)), 413, "request_too_large"
    )
    chunks = (bytes(100_000) for _ in range(20))
    problem(front.client.post("/api/signals", headers=bearer(token), content=chunks), 413, "request_too_large")
    headers = bearer(token) | {"x-large": "a" * 20_000}
    problem(front.client.get("/api/signals", headers=headers), 431, "headers_too_large")
    assert front.services["signals"].requests == before
    answer = front.client.post("/api/signals", headers=bearer(token), content=bytes(1_000_000))
    assert answer.json()["received"] == 1_000_000


def test_security_headers_are_on_every_answer_once(front: Front, token: str) -> None:
    for answer in (
        front.client.get("/api/signals", headers=bearer(token)),
        front.client.get("/api/signals"),
        front.client.get("/nothing"),
        front.client.post("/api/auth/login", json={}),
    ):
        for name, value in (security_headers(GatewaySettings()) | UNLESS_GIVEN).items():
            assert answer.headers.get_list(name) == [value], (answer.status_code, name)
        assert "server" not in answer.headers
        assert not [name for name in answer.headers if name.startswith("x-envoy")]


def test_a_service_that_is_down_is_answered_for(front: Front, token: str) -> None:
    front.services["workflow"].stop()
    answer = front.client.get("/api/assignments", headers=bearer(token))
    assert problem(answer, 503, "unavailable")["request_id"]
    assert answer.headers["retry-after"] == "5"
    assert front.client.get("/api/signals", headers=bearer(token)).status_code == 200
    front.services["workflow"].start()

    def back() -> bool:
        return front.client.get("/api/assignments", headers=bearer(token)).status_code == 200

    assert poll_until(back, 20)


def test_streams_are_not_held_back(front: Front, token: str) -> None:
    front.services["activity"].more.clear()
    with front.client.stream("GET", "/api/feed/stream", headers=bearer(token)) as answer:
        chunks = answer.iter_text()
        assert next(chunks) == "data: first\n\n"
        front.services["activity"].more.set()
        assert next(chunks) == "data: second\n\n"


def test_the_log_is_json_without_tokens(front: Front, token: str) -> None:
    front.client.get(f"/api/signals?q=a-patients-name&token={token}", headers=bearer(token))

    def lines() -> list[str]:
        return front.gateway.process.log_path.read_text().splitlines()

    def logged() -> bool:
        return any('"path":"/api/signals"' in line for line in lines())

    # Envoy writes its log every ten seconds.
    assert poll_until(logged, 30, interval=0.2)
    entries = [json.loads(line) for line in lines() if line.startswith("{")]
    assert {"method", "path", "status", "milliseconds", "request_id", "client_address"} <= set(entries[-1])
    whole = "\n".join(lines())
    assert token.rsplit(".", 1)[1] not in whole
    assert "a-patients-name" not in whole
    assert PASSWORD not in whole


def test_known_keys_go_on_while_the_auth_service_is_away_and_come_when_it_comes(database_url: str) -> None:
    with running(database_url) as front:
        front.gateway.start()
        some_token = with_other_key("")
        refused = front.client.get("/api/signals", headers=bearer(some_token))
        problem(refused, 503, "keys_unknown")
        assert refused.headers["retry-after"]
        front.auth.start()
        wait_for_keys(front)
        token = front.login()
        front.auth.stop()
        assert front.client.get("/api/signals", headers=bearer(token)).status_code == 200
        assert front.client.get("/api/auth/me", headers=bearer(token)).status_code == 503


def test_rates_are_limited_and_logins_tighter(database_url: str) -> None:
    with running(
        database_url,
        COMPASS_GATEWAY_LOGINS_PER_MINUTE_AND_ADDRESS="3",
        COMPASS_GATEWAY_REQUESTS_PER_SECOND_AND_ADDRESS="40",
    ) as front:
        front.gateway.start()
        logins = [front.client.post("/api/auth/login", json=LOGIN) for _ in range(8)]
        assert [answer.status_code for answer in logins] == [503] * 6 + [429] * 2
        problem(logins[-1], 429, "too_many_requests")
        assert logins[-1].headers["retry-after"] == "1"
        assert front.client.get("/api/signals").status_code != 429
        others = [front.client.get("/nothing").status_code for _ in range(200)]
        assert others[:50] == [404] * 50
        assert 429 in others


def test_the_command_prints_a_configuration_that_envoy_takes(front: Front, tmp_path: Path) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "deploy.gateway", "render", "--target", "local"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    configuration = tmp_path / "envoy.json"
    configuration.write_text(printed)
    executable = front.gateway.process.command.arguments[0]
    checked = subprocess.run(
        [executable, "--mode", "validate", "--config-path", str(configuration)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
    assert "eprecated" not in checked.stderr
