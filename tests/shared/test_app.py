"""What every service answers, whatever its endpoints do."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Query
from prometheus_client import REGISTRY
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.app import create_app
from shared.db import DbSession, SessionMaker
from shared.errors import ConflictError, UnavailableError
from shared.pagination import Limit
from shared.settings import ServiceSettings

Query_ = Callable[..., Awaitable[list[Any]]]

router = APIRouter(prefix="/api")


class Body(BaseModel):
    """A body with one strict field."""

    number: int


@router.post("/effects", status_code=201)
async def add_effect(session: DbSession, value: str) -> dict[str, str]:
    await session.execute(text("INSERT INTO effects (value) VALUES (:value)"), {"value": value})
    if value == "conflict":
        raise ConflictError("It is taken.", "taken")
    if value == "bug":
        raise RuntimeError("secret detail")
    if value == "away":
        raise ConnectionRefusedError("no database")
    return {"value": value}


@router.post("/body")
async def body(body: Body, limit: Limit = 25) -> dict[str, int]:
    return {"number": body.number, "limit": limit}


@router.put("/body")
async def replace_body(body: Body) -> dict[str, int]:
    return {"number": body.number}


@router.get("/unavailable")
async def unavailable() -> None:
    raise UnavailableError("Kafka is away.")


@router.get("/slow")
async def slow(session: DbSession, seconds: Annotated[float, Query()]) -> None:
    await session.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})


@pytest.fixture
async def client(
    settings: ServiceSettings, engine: AsyncEngine, session_maker: SessionMaker
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings, name="signals", description="Under test.", routers=[router])
    app.state.session_maker = session_maker
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


async def effects(query: Query_) -> list[str]:
    return [row.value for row in await query("SELECT value FROM effects ORDER BY number")]


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    answer: dict[str, Any] = response.json()
    assert (answer["status"], answer["code"]) == (status, code)
    assert answer["type"] == f"urn:quality-compass:problem:{code}"
    assert answer["request_id"] == response.headers["x-request-id"]
    assert answer["title"]
    assert answer["detail"]
    return answer


async def test_a_good_answer_is_committed(client: httpx.AsyncClient, query: Query_) -> None:
    assert (await client.post("/api/effects", params={"value": "kept"})).status_code == 201
    assert await effects(query) == ["kept"]


async def test_a_failed_commit_is_never_a_good_answer(client: httpx.AsyncClient, query: Query_) -> None:
    """A deferred constraint fails at COMMIT, after the endpoint has returned its answer."""
    await query("SELECT 1")
    maker = client._transport.app.state.session_maker  # type: ignore[attr-defined]
    async with maker() as session, session.begin():
        await session.execute(
            text("ALTER TABLE effects ADD CONSTRAINT once UNIQUE (value) DEFERRABLE INITIALLY DEFERRED")
        )
    assert (await client.post("/api/effects", params={"value": "once"})).status_code == 201
    problem(await client.post("/api/effects", params={"value": "once"}), 500, "internal")
    assert await effects(query) == ["once"]


async def test_a_failure_takes_its_writes_back(client: httpx.AsyncClient, query: Query_) -> None:
    answer = problem(await client.post("/api/effects", params={"value": "conflict"}), 409, "taken")
    assert answer["detail"] == "It is taken."
    assert await effects(query) == []


async def test_a_bug_tells_nothing_but_the_request_id(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/effects", params={"value": "bug"}, headers={"x-request-id": "find-me"})
    assert problem(response, 500, "internal")["request_id"] == "find-me"
    assert "secret" not in response.text


async def test_what_may_pass_is_503_with_retry_after(client: httpx.AsyncClient) -> None:
    for response in (
        await client.post("/api/effects", params={"value": "away"}),
        await client.get("/api/unavailable"),
    ):
        problem(response, 503, "unavailable")
        assert int(response.headers["retry-after"]) > 0


async def test_a_statement_that_takes_too_long_is_ended(client: httpx.AsyncClient, settings: ServiceSettings) -> None:
    app = create_app(
        settings.model_copy(update={"statement_timeout_seconds": 0.2}), name="public", description="", routers=[router]
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as slow_client:
        problem(await slow_client.get("/api/slow", params={"seconds": 30}), 503, "unavailable")


@pytest.mark.parametrize(
    ("content", "query", "pointer"),
    [
        (b'{"number": "x"}', "", "/body/number"),
        (b"{}", "", "/body/number"),
        (b'{"number": 1}', "?limit=0", "/query/limit"),
        (b'{"number": 1}', "?limit=x", "/query/limit"),
        (b"{not json", "", "/body/1"),
        (b"", "", "/body"),
        (b'{"number": "\xff"}', "", "/body"),
    ],
)
async def test_bad_input_is_422_and_points_at_it(
    client: httpx.AsyncClient, content: bytes, query: str, pointer: str
) -> None:
    response = await client.post(f"/api/body{query}", content=content, headers={"content-type": "application/json"})
    assert [error["pointer"] for error in problem(response, 422, "invalid")["errors"]] == [pointer]


async def test_unknown_paths_and_methods_are_problems_too(client: httpx.AsyncClient) -> None:
    problem(await client.get("/api/nothing"), 404, "not_found")
    refused = await client.delete("/api/body")
    problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "POST, PUT"


@pytest.mark.parametrize("given", ["", "with space", "x" * 65, 'quote"', "line\tbreak"])
async def test_an_odd_request_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    response = await client.get("/api/nothing", headers={"x-request-id": given})
    assert response.headers["x-request-id"] != given
    assert len(response.headers["x-request-id"]) == 36


async def test_failures_are_counted_from_the_first_on(client: httpx.AsyncClient) -> None:
    async def failures() -> float:
        lines = (await client.get("/metrics")).text.splitlines()
        [value] = [line.split()[1] for line in lines if line.startswith("compass_http_failures_total ")]
        return float(value)

    before = await failures()
    for value, status in (("fine", 201), ("conflict", 409), ("bug", 500), ("away", 503)):
        assert (await client.post("/api/effects", params={"value": value})).status_code == status
    assert await failures() == before + 2


async def test_metrics_name_the_route_and_not_the_path(client: httpx.AsyncClient) -> None:
    await client.post("/api/effects", params={"value": "counted"})
    text_of = (await client.get("/metrics")).text
    assert 'compass_http_request_seconds_count{method="POST",route="/api/effects",status="201"}' in text_of


async def test_the_process_answers_without_a_database(settings: ServiceSettings) -> None:
    away = settings.model_copy(update={"database_url": "postgresql://nobody:x@127.0.0.1:1/nothing"})
    app = create_app(away, name="signals", description="", routers=[router])
    app.state.background = []
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as lonely:
        assert (await lonely.get("/healthz")).json() == {"status": "ok"}
        failures = REGISTRY.get_sample_value("compass_http_failures_total")
        for path in ("/readyz", "/readyz/requests"):
            ready = await lonely.get(path)
            assert ready.status_code == 503
            assert any("database" in line for line in ready.json()["problems"])
        assert REGISTRY.get_sample_value("compass_http_failures_total") == failures, "nobody asked for anything"
        problem(await lonely.post("/api/effects", params={"value": "x"}), 503, "unavailable")


def test_problem_bodies_are_json(settings: ServiceSettings) -> None:
    app = create_app(settings, name="signals", description="", routers=[router])
    assert json.dumps(app.openapi())
    assert "Problem" in app.openapi()["components"]["schemas"]
