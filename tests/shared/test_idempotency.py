"""A write sent again with its Idempotency-Key, whatever the write is."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, Depends, Header, Response
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.app import create_app
from shared.auth import User
from shared.db import DbSession, SessionMaker
from shared.errors import ConflictError
from shared.events.vocabulary import UserRole
from shared.idempotency import Answer, OnceOnly, forget_answers, forget_before, once
from shared.settings import ServiceSettings
from tests.support.eventually import eventually

Query_ = Callable[..., Awaitable[list[Any]]]

SOMEBODY, ANOTHER = UUID(int=1), UUID(int=2)
PATH = "/api/effects"

router = APIRouter(prefix="/api")


def _user(who: Annotated[UUID, Header()] = SOMEBODY) -> User:
    return User(who, "Somebody", UserRole.ADMIN, UUID(int=9), datetime(2030, 1, 1, tzinfo=UTC))


Caller = Annotated[User, Depends(_user)]


class Wanted(BaseModel):
    """A body of two members."""

    value: str
    more: int = 0


class Made(BaseModel):
    """An answer that carries its ETag."""

    number: int
    etag: str


async def _effect(session: AsyncSession, value: str) -> int:
    """Leave a trace that says whether the write ran. ``conflict`` fails; ``slow`` waits for a lock of the test's."""
    if value == "slow":
        await session.execute(text("SELECT pg_advisory_xact_lock(4711)"))
    row = await session.execute(text("INSERT INTO effects (value) VALUES (:value) RETURNING number"), {"value": value})
    if value == "conflict":
        raise ConflictError("It is taken.", "taken")
    return int(row.scalar_one())


@router.post("/effects", status_code=201)
async def add(user: Caller, wanted: Wanted, attempt: OnceOnly, session: DbSession) -> Response:
    async def act() -> Made:
        number = await _effect(session, wanted.value)
        return Made(number=number, etag=f'"{number}"')

    return await once(session, user, attempt, act, 201)


@router.patch("/effects/{name}")
@router.put("/effects/{name}")
async def change(user: Caller, name: str, wanted: Wanted, attempt: OnceOnly, session: DbSession) -> Response:
    async def act() -> Answer:
        return Answer(202, b'{"number":%d}' % await _effect(session, f"{name} {wanted.value}"), '"tag"')

    return await once(session, user, attempt, act)


@router.delete("/effects/{name}", status_code=204)
async def remove(user: Caller, name: str, attempt: OnceOnly, session: DbSession, *, force: bool = False) -> Response:
    async def act() -> None:
        await _effect(session, f"{name} {force}")

    return await once(session, user, attempt, act)


@pytest.fixture
async def client(settings: ServiceSettings, session_maker: SessionMaker) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings, name="signals", description="Under test.", routers=[router])
    app.state.session_maker = session_maker
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


@pytest.fixture
def effects(query: Query_) -> Callable[[], Awaitable[list[str]]]:
    async def read() -> list[str]:
        return [row.value for row in await query("SELECT value FROM effects ORDER BY number")]

    return read


Effects = Callable[[], Awaitable[list[str]]]


def _keyed(key: str, who: UUID = SOMEBODY) -> dict[str, str]:
    return {"idempotency-key": key, "who": str(who)}


def _code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
async def test_the_same_request_has_one_effect_and_the_same_answer(
    client: httpx.AsyncClient, effects: Effects, method: str
) -> None:
    path, body = (PATH, {"value": "v"}) if method == "POST" else (f"{PATH}/x", {"value": "v"})
    sent: dict[str, Any] = {"headers": _keyed("a-key")} | ({} if method == "DELETE" else {"json": body})
    first = await client.request(method, path, **sent)
    again = await client.request(method, path, **sent | {"headers": _keyed('"a-key"')})
    status, tag = {"POST": (201, '"1"'), "DELETE": (204, None)}.get(method, (202, '"tag"'))
    for answer in (first, again):
        assert (answer.status_code, answer.headers.get("etag"), answer.content) == (status, tag, first.content)
        assert answer.headers.get("content-type") == (None if method == "DELETE" else "application/json")
    assert len(await effects()) == 1


async def test_without_a_key_every_request_counts(client: httpx.AsyncClient, effects: Effects) -> None:
    for _ in range(2):
        assert (await client.post(PATH, json={"value": "v"})).status_code == 201
    assert len(await effects()) == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", PATH), ("PUT", f"{PATH}/x"), ("PATCH", f"{PATH}/x"), ("PUT", f"{PATH}/y"), ("DELETE", f"{PATH}/x")],
)
async def test_another_request_with_the_key_is_refused(
    client: httpx.AsyncClient, effects: Effects, method: str, path: str
) -> None:
    assert (await client.put(f"{PATH}/x", json={"value": "first"}, headers=_keyed("k"))).status_code == 202
    body: dict[str, Any] = {} if method == "DELETE" else {"json": {"value": "other"}}
    answer = await client.request(method, path, headers=_keyed("k"), **body)
    assert _code(answer) == (422, "idempotency_key_reused")
    assert await effects() == ["x first"]


async def test_another_method_makes_another_request(client: httpx.AsyncClient, effects: Effects) -> None:
    assert (await client.put(f"{PATH}/x", json={"value": "v"}, headers=_keyed("k"))).status_code == 202
    answer = await client.patch(f"{PATH}/x", json={"value": "v"}, headers=_keyed("k"))
    assert _code(answer) == (422, "idempotency_key_reused")
    assert await effects() == ["x v"]


async def test_a_query_makes_another_request(client: httpx.AsyncClient, effects: Effects) -> None:
    assert (await client.delete(f"{PATH}/x", headers=_keyed("k"))).status_code == 204
    answer = await client.delete(f"{PATH}/x?force=true", headers=_keyed("k"))
    assert _code(answer) == (422, "idempotency_key_reused")
    assert await effects() == ["x False"]


async def test_keys_are_each_users_own(client: httpx.AsyncClient, effects: Effects) -> None:
    for who in (SOMEBODY, ANOTHER):
        assert (await client.post(PATH, json={"value": "v"}, headers=_keyed("k", who))).status_code == 201
    assert len(await effects()) == 2


async def test_the_order_of_members_makes_no_other_request(client: httpx.AsyncClient, effects: Effects) -> None:
    for body in ('{"value": "v", "more": 1}', '{"more":1,"value":"v"}'):
        headers = _keyed("k") | {"content-type": "application/json"}
        assert (await client.post(PATH, content=body, headers=headers)).status_code == 201
    assert len(await effects()) == 1


async def test_a_failure_leaves_the_key_free(client: httpx.AsyncClient, effects: Effects, query: Query_) -> None:
    assert _code(await client.post(PATH, json={"value": "conflict"}, headers=_keyed("k"))) == (409, "taken")
    assert await query("SELECT 1 FROM idempotency_keys") == []
    assert (await client.post(PATH, json={"value": "v"}, headers=_keyed("k"))).status_code == 201
    assert await effects() == ["v"]


async def test_a_key_is_forgotten_after_a_day(
    client: httpx.AsyncClient, effects: Effects, session_maker: SessionMaker
) -> None:
    for hours in (23, 2):
        assert (await client.post(PATH, json={"value": "v"}, headers=_keyed("k"))).status_code == 201
        assert await effects() == ["v"]
        async with session_maker() as session, session.begin():
            older = "UPDATE idempotency_keys SET created_at = created_at - make_interval(hours => :hours)"
            await session.execute(text(older), {"hours": hours})
    assert (await client.post(PATH, json={"value": "later"}, headers=_keyed("k"))).status_code == 201
    assert await effects() == ["v", "later"]


async def test_answers_go_also_when_nobody_comes_back(
    client: httpx.AsyncClient, session_maker: SessionMaker, query: Query_
) -> None:
    for number in range(5):
        assert (await client.post(PATH, json={"value": "v"}, headers=_keyed(f"k{number}"))).status_code == 201
    async with session_maker() as session, session.begin():
        older = "UPDATE idempotency_keys SET created_at = created_at - make_interval(hours => 25) WHERE key < 'k4'"
        await session.execute(text(older))
    app = client._transport.app  # type: ignore[attr-defined]
    worker = asyncio.create_task(forget_answers(app))
    try:
        left = await eventually(lambda: query("SELECT key FROM idempotency_keys"), lambda rows: len(rows) < 5)
        assert [row.key for row in left] == ["k4"]
        assert not worker.done()
    finally:
        worker.cancel()


async def test_forgetting_goes_in_batches_and_waits_for_nobody(
    client: httpx.AsyncClient, session_maker: SessionMaker, query: Query_
) -> None:
    for number in range(5):
        assert (await client.post(PATH, json={"value": "v"}, headers=_keyed(f"k{number}"))).status_code == 201
    async with session_maker() as busy, busy.begin():
        await busy.execute(text("SELECT 1 FROM idempotency_keys WHERE key = 'k2' FOR UPDATE"))
        assert await forget_before(session_maker, datetime.now(UTC) + timedelta(hours=1), batch=2) == 4
    assert [row.key for row in await query("SELECT key FROM idempotency_keys")] == ["k2"]


@pytest.mark.parametrize("key", ["", '"', 'a"b', '""', "a b", "x" * 256, '"' + "x" * 256 + '"'])
async def test_a_malformed_key_is_422(client: httpx.AsyncClient, effects: Effects, key: str) -> None:
    answer = await client.post(PATH, json={"value": "v"}, headers=_keyed(key))
    assert _code(answer) == (422, "invalid")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/header/idempotency-key"]
    assert await effects() == []


@pytest.mark.parametrize("body", [b"not json", b"\xff", b"[" * 200_000])
async def test_a_body_that_nobody_reads_need_not_be_json(
    client: httpx.AsyncClient, effects: Effects, body: bytes
) -> None:
    for _ in range(2):
        answer = await client.request("DELETE", f"{PATH}/x", content=body, headers=_keyed("k"))
        assert answer.status_code == 204
    assert len(await effects()) == 1


async def test_of_concurrent_ones_one_runs_and_all_get_its_answer(
    client: httpx.AsyncClient, effects: Effects, session_maker: SessionMaker, query: Query_
) -> None:
    async with session_maker() as holder, holder.begin():
        await holder.execute(text("SELECT pg_advisory_xact_lock(4711)"))
        requests = [
            asyncio.create_task(client.post(PATH, json={"value": "slow"}, headers=_keyed("k"))) for _ in range(4)
        ]

        async def waiting() -> int:
            return int((await holder.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))).scalar_one())

        await eventually(waiting, lambda count: count >= len(requests))
    answers = await asyncio.gather(*requests)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert await effects() == ["slow"]


async def test_concurrent_ones_that_differ_get_one_answer_and_one_refusal(
    client: httpx.AsyncClient, effects: Effects
) -> None:
    answers = await asyncio.gather(
        *(client.post(PATH, json={"value": value}, headers=_keyed("k")) for value in ("a", "b"))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 422]
    assert len(await effects()) == 1


def test_the_header_is_documented(client: httpx.AsyncClient) -> None:
    app = client._transport.app  # type: ignore[attr-defined]
    operation = json.loads(json.dumps(app.openapi()))["paths"]["/api/effects"]["post"]
    assert "idempotency-key" in [parameter["name"] for parameter in operation["parameters"]]
