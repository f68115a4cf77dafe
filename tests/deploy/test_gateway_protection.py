"""What the gateway keeps from the services and from its other callers: slow, smuggled and foreign requests."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from deploy.gateway.replies import security_headers
from deploy.gateway.settings import GatewaySettings
from deploy.local.processes import poll_until
from tests.deploy.front import Front, bearer, problem, raw, running, told, wait_for_keys

ORIGIN = "https://app.example"
CONNECTIONS = 40


@pytest.fixture(scope="module")
def front(database_url: str) -> Iterator[Front]:
    """A gateway behind https that knows one other origin, with little patience and few connections."""
    with running(
        database_url,
        COMPASS_GATEWAY_CORS_ORIGINS=f"{ORIGIN}, http://127.0.0.1:3000",
        COMPASS_GATEWAY_HTTPS="true",
        COMPASS_GATEWAY_HEADERS_SECONDS="1",
        COMPASS_GATEWAY_REQUEST_SECONDS="2",
        COMPASS_GATEWAY_IDLE_SECONDS="3",
        COMPASS_GATEWAY_CONNECTIONS=str(CONNECTIONS),
    ) as front:
        front.auth.start()
        front.gateway.start()
        wait_for_keys(front)
        yield front


@pytest.fixture(scope="module")
def token(front: Front) -> str:
    """An access token of the demo user who leads clinically."""
    return front.login()


def preflight(front: Front, origin: str, path: str = "/api/signals/7/status") -> httpx.Response:
    """What a browser asks before a page of that origin may send something."""
    asked = {"access-control-request-method": "PATCH", "access-control-request-headers": "authorization, if-match"}
    return front.client.options(path, headers={"origin": origin} | asked)


@pytest.mark.parametrize("origin", [ORIGIN, "http://127.0.0.1:3000"])
def test_a_known_origin_may_call_and_needs_no_token_to_ask(front: Front, origin: str) -> None:
    answer = preflight(front, origin)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert {"authorization", "if-match", "idempotency-key"} <= set(
        answer.headers["access-control-allow-headers"].split(", ")
    )
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        *("https://app.example.evil.org", "https://evil-app.example", "http://app.example", "https://app.example:444"),
        *("https://APP.example", "null", "*", "https://app.example/", "https://sub.app.example"),
    ],
)
def test_an_origin_that_only_looks_like_it_may_not(front: Front, token: str, origin: str) -> None:
    assert "access-control-allow-origin" not in preflight(front, origin).headers
    answer = front.client.get("/api/signals", headers=bearer(token) | {"origin": origin})
    assert "access-control-allow-origin" not in answer.headers


def test_a_page_can_read_what_it_needs_of_answers_and_refusals(front: Front, token: str) -> None:
    for path, headers, status in (
        ("/api/signals", bearer(token), 200),
        ("/api/signals", {}, 401),
    ):
        answer = front.client.get(path, headers=headers | {"origin": ORIGIN})
        assert answer.status_code == status
        assert answer.headers.get("access-control-allow-origin") == ORIGIN, status
        exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert {"etag", "location", "retry-after", "x-request-id"} <= exposed


def test_a_preflight_reaches_no_service(front: Front) -> None:
    before = {name: list(service.requests) for name, service in front.services.items()}
    for origin in (ORIGIN, "https://evil.example"):
        preflight(front, origin)
    assert {name: service.requests for name, service in front.services.items()} == before


@pytest.mark.parametrize(
    "given", ["*", "https://*.example", "app.example", "https://app.example/", "https://App.example", "ftp://a.example"]
)
def test_what_is_no_exact_origin_is_refused_at_start(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPASS_GATEWAY_CORS_ORIGINS", f"{ORIGIN},{given}")
    with pytest.raises(ValueError, match="is not an origin"):
        GatewaySettings()


def test_browsers_keep_to_https_where_it_is_used(front: Front) -> None:
    for path in ("/api/signals", "/nothing", "/.well-known/jwks.json"):
        values = front.client.get(path).headers.get_list("strict-transport-security")
        assert values == ["max-age=31536000; includeSubDomains"]


def test_without_https_nobody_is_told_to_insist_on_it() -> None:
    assert "strict-transport-security" not in security_headers(GatewaySettings(https=False))


def connect(front: Front) -> socket.socket:
    """A connection to the gateway; reading from it waits for at most twenty seconds."""
    return socket.create_connection(("127.0.0.1", front.settings.gateway_port), timeout=20)


def read_all(connection: socket.socket) -> bytes:
    """All that is sent until the gateway closes the connection."""
    answer = b""
    try:
        while chunk := connection.recv(65536):
            answer += chunk
    except ConnectionResetError:
        pass
    return answer


SLOW = {
    "headers": b"GET /api/signals HTTP/1.1\r\nhost: x\r\nx-slow: ",
    "request line": b"GET /api/si",
    "body": b"POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
    "nothing at all": b"",
}


@pytest.mark.parametrize("what", SLOW)
def test_who_never_finishes_a_request_is_hung_up_on(front: Front, token: str, what: str) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(front)) for _ in range(CONNECTIONS // 2)]
        for connection in slow:
            connection.sendall(SLOW[what])
        assert front.client.get("/api/signals", headers=bearer(token)).status_code == 200
        for connection in slow:
            answer = read_all(connection)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")


def test_connections_are_limited_and_free_again(front: Front, token: str) -> None:
    front.client.close()
    front.client = httpx.Client(base_url=front.gateway.url, timeout=20)
    with ExitStack() as stack:
        for _ in range(2 * CONNECTIONS):
            stack.enter_context(connect(front)).sendall(b"GET /api/signals HTTP/1.1\r\n")
        with pytest.raises(httpx.TransportError):
            front.client.get("/api/signals", headers=bearer(token))
        assert front.gateway.process.is_running

    def back() -> bool:
        try:
            return front.client.get("/api/signals", headers=bearer(token)).status_code == 200
        except httpx.TransportError:
            return False

    assert poll_until(back, 20)


# Each holds a second request, for somebody who takes the first to end elsewhere than the gateway does.
SMUGGLED = {
    "both lengths": b"content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nX",
    "both, turned round": b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n6\r\nGET /x\r\n0\r\n\r\n",
    "two lengths": b"content-length: 0\r\ncontent-length: 44\r\n\r\nGET /api/metrics HTTP/1.1\r\nhost: x\r\n\r\n",
    "a list of lengths": b"content-length: 0, 44\r\n\r\nGET /api/metrics HTTP/1.1\r\nhost: x\r\n\r\n",
    "a signed length": b"content-length: +0\r\n\r\n",
    "a negative length": b"content-length: -1\r\n\r\n",
    "a length in hexadecimal": b"content-length: 0x0\r\n\r\n",
    "a huge length": b"content-length: 99999999999999999999\r\n\r\n",
    "an unknown encoding": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked and something": b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a blank before the colon": b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded line": b"x-a: b\r\n transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk that is no number": b"transfer-encoding: chunked\r\n\r\nxyz\r\n\r\n0\r\n\r\n",
    "a chunk with a huge size": b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n\r\n0\r\n\r\n",
    "two hosts": b"host: y\r\n\r\n",
    "a carriage return alone": b"x-a: b\rx-user-id: 1\r\n\r\n",
    "a nul": b"x-a: \x00\r\n\r\n",
}

REFUSED = ("both lengths", "two lengths", "a list of lengths", "a nul", "a blank before the colon", "a negative length")
"""Of the others the gateway makes one request that is not ambiguous any more, or refuses them, too."""


@pytest.fixture(scope="module")
def smuggled(front: Front, token: str) -> dict[str, bytes]:
    """What was answered to each, all of them sent before any is waited for; a case's path is its number."""
    with ExitStack() as stack:
        connections = {}
        for number, (what, rest) in enumerate(SMUGGLED.items()):
            head = f"POST /api/signals/{number} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
            connections[what] = stack.enter_context(connect(front))
            connections[what].sendall(head.encode() + rest)
        return {what: read_all(connection) for what, connection in connections.items()}


@pytest.mark.parametrize("what", SMUGGLED)
def test_no_request_hides_in_another(front: Front, smuggled: dict[str, bytes], what: str) -> None:
    path = f"/api/signals/{list(SMUGGLED).index(what)}"
    reached = front.services["signals"].requests.count(path)
    served = smuggled[what].count(b"HTTP/1.1 200")
    assert reached == served <= 1
    if what in REFUSED:
        assert smuggled[what].startswith(b"HTTP/1.1 400 ")
        assert reached == 0


def test_what_was_hidden_reached_nobody(front: Front, smuggled: dict[str, bytes]) -> None:
    reached = [path for service in front.services.values() for path in service.requests]
    assert "/api/metrics" not in reached
    assert "/x" not in reached


def test_a_header_that_the_gateway_sets_cannot_be_named_as_one_to_leave_out(front: Front, token: str) -> None:
    request = (
        f"GET /api/signals HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
        "connection: close, x-client-address, x-request-id\r\nx-client-address: 9.9.9.9\r\n\r\n"
    )
    status, body = raw(front, request.encode())
    if status != 400:
        headers = httpx.Response(200, content=body).json()["headers"]
        assert ["x-client-address", "127.0.0.1"] in headers
        assert [value for name, value in headers if name == "x-client-address"] == ["127.0.0.1"]


def test_instructions_to_the_proxy_are_none_from_outside(front: Front, token: str) -> None:
    instructions = {
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-envoy-max-retries": "9",
        "x-envoy-original-path": "/api/users",
        "x-original-url": "/api/users",
        "x-rewrite-url": "/api/users",
        "x-forwarded-for": "9.9.9.9",
        "x-forwarded-host": "evil.example",
    }
    answer = front.client.get("/api/signals", headers=bearer(token) | instructions)
    headers = told(answer)
    assert answer.json()["path"] == "/api/signals"
    assert headers["x-client-address"] == ["127.0.0.1"]
    for name in ("x-envoy-original-path", "x-original-url", "x-rewrite-url", "x-envoy-max-retries"):
        assert name not in headers, name


def test_an_upgrade_leads_nowhere(front: Front, token: str) -> None:
    for protocol in ("h2c", "websocket"):
        upgrade = {"connection": "upgrade, http2-settings", "upgrade": protocol, "http2-settings": "AAMAAABkAAQAAP__"}
        answer = front.client.get("/api/signals", headers=bearer(token) | upgrade)
        assert answer.status_code in (200, 400, 403)
        if answer.status_code == 200:
            assert "upgrade" not in told(answer)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_no_tunnel_and_no_echo(front: Front, token: str, method: str) -> None:
    target = "127.0.0.1:5432" if method == "CONNECT" else "/api/signals"
    request = f"{method} {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    with connect(front) as connection:
        connection.sendall(request.encode())
        answer = read_all(connection)
    assert answer.split(b" ")[1] in (b"400", b"403", b"404", b"405", b"408", b"501")
    assert token.encode() not in answer


def test_many_headers_are_refused(front: Front, token: str) -> None:
    headers = bearer(token) | {f"x-{number}": "1" for number in range(120)}
    problem(front.client.get("/api/signals", headers=headers), 431, "headers_too_large")
    long = "/api/signals?" + "a" * 20_000
    problem(front.client.get(long, headers=bearer(token)), 431, "headers_too_large")


def test_the_only_instance_of_a_service_is_never_left_out(front: Front, token: str) -> None:
    service = front.services["workflow"]
    service.breaks = True
    for _ in range(20):
        problem(front.client.get("/api/assignments", headers=bearer(token)), 503, "unavailable")
    service.breaks = False
    assert front.client.get("/api/assignments", headers=bearer(token)).status_code == 200


def test_a_reading_whose_instance_is_gone_is_done_by_another(front: Front, token: str) -> None:
    service = front.services["workflow"]
    seen = service.cut
    service.breaks_once = True
    assert front.client.get("/api/assignments", headers=bearer(token)).status_code == 200
    assert service.cut == seen + 1


def test_a_write_is_never_sent_twice(front: Front, token: str) -> None:
    service = front.services["workflow"]
    service.breaks = True
    seen = service.cut
    problem(front.client.post("/api/assignments/bulk", headers=bearer(token), json={}), 503, "unavailable")
    service.breaks = False
    assert service.cut == seen + 1


def test_requests_in_flight_finish_when_the_gateway_stops(front: Front, token: str) -> None:
    service = front.services["activity"]
    service.more.clear()
    answers: list[int] = []

    def ask() -> None:
        with httpx.Client(base_url=front.gateway.url, timeout=20) as client:
            answers.append(client.get("/api/feed/slow", headers=bearer(token)).status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    assert poll_until(lambda: "/api/feed/slow" in service.requests, 10)
    stopping = threading.Thread(target=front.gateway.stop)
    stopping.start()

    def refuses() -> bool:
        try:
            connect(front).close()
        except OSError:
            return True
        return False

    assert poll_until(refuses, 10)
    assert answers == []
    service.more.set()
    asking.join(20)
    stopping.join(30)
    assert answers == [200]
    assert not front.gateway.process.is_running
