"""Signing keys: made once, published, encrypted at rest."""

import asyncio
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy import text

from services.auth import repository_keys, service_keys, service_upkeep
from services.auth.keys import KeyDecryptionError, KeyRing
from services.auth.main import create
from services.auth.models import SigningKey
from services.auth.service_tools import Tools
from services.auth.settings import AuthSettings
from shared.db import create_engine, create_session_maker
from tests.auth.conftest import login
from tests.support.service import ServiceUnderTest


def row(**columns: object) -> SigningKey:
    return SigningKey(**columns)


async def test_the_key_set_is_public_and_cacheable(client: httpx.AsyncClient) -> None:
    answer = await client.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=60"
    [key] = answer.json()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")


async def test_without_a_key_the_answer_is_not_an_empty_set(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    async with auth.session_maker() as session, session.begin():
        await session.execute(text("DELETE FROM signing_keys"))
    for answer in (await client.get("/.well-known/jwks.json"), await login(client)):
        assert (answer.status_code, answer.json()["code"]) == (503, "no_signing_key")
        assert answer.headers["retry-after"]


async def test_the_first_key_is_told_to_the_services(auth: ServiceUnderTest) -> None:
    [event] = await auth.events("key.rotated")
    [stored] = await auth.rows("SELECT kid, public_jwk FROM signing_keys")
    told = httpx.Response(200, content=bytes(event.data)).json()
    assert event.sequence == 1
    assert [key["kid"] for key in told["keys"]] == [stored["kid"]]
    assert set(told["keys"][0]["public_jwk"]) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert told["keys"][0]["not_after"] is None


async def test_a_second_start_makes_no_second_key(auth: ServiceUnderTest) -> None:
    await service_upkeep.once(auth.session_maker, auth.app.state.tools)
    assert len(await auth.rows("SELECT * FROM signing_keys")) == 1
    assert len(await auth.events("key.rotated")) == 1


async def test_instances_that_start_together_make_one_key(own_database: AuthSettings) -> None:
    tools: Tools = create(own_database).state.tools
    engine = create_engine(own_database, "auth")
    maker = create_session_maker(engine)
    try:
        await asyncio.gather(*(service_upkeep.once(maker, tools) for _ in range(8)))
        async with maker() as session:
            for table in ("signing_keys", "outbox"):
                assert (await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one() == 1  # noqa: S608
    finally:
        await engine.dispose()


async def test_the_private_key_is_encrypted_and_bound_to_its_row() -> None:
    ring = KeyRing(bytes(range(32)))
    first, second = ring.generate(), ring.generate()
    assert first["kid"] != second["kid"]
    fresh = KeyRing(bytes(range(32)))
    assert fresh.signer(row(**first)).kid == first["kid"]
    assert fresh.signer(row(**first)).key.is_private
    with pytest.raises(KeyDecryptionError, match="was encrypted with"):
        KeyRing(bytes(range(1, 33))).signer(row(**first))
    moved = second | {name: first[name] for name in ("encrypted_private_key", "encrypted_data_key")}
    with pytest.raises(KeyDecryptionError):
        fresh.signer(row(**moved))


async def test_the_newest_key_whose_time_has_come_signs(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    tools: Tools = auth.app.state.tools
    async with auth.session_maker() as session, session.begin():
        await repository_keys.add(session, first := tools.keys.generate(), await moment(auth, "-1 minute"))
        await repository_keys.add(session, later := tools.keys.generate(), await moment(auth, "2 minutes"))
    keys = [key["kid"] for key in (await client.get("/.well-known/jwks.json")).json()["keys"]]
    assert {first["kid"], later["kid"]} < set(keys)
    async with auth.session_maker() as session:
        signer = await service_keys.current_signer(session, tools.keys, datetime.now(UTC))
    assert signer.kid not in (later["kid"], first["kid"])
    async with auth.session_maker() as session, session.begin():
        await session.execute(
            text(
                "UPDATE signing_keys SET signs_from = now() "
                "- CASE WHEN kid = :kid THEN interval '0' ELSE interval '1 day' END"
            ),
            {"kid": later["kid"]},
        )
    async with auth.session_maker() as session:
        assert (await service_keys.current_signer(session, tools.keys, datetime.now(UTC))).kid == later["kid"]


async def moment(auth: ServiceUnderTest, distance: str) -> datetime:
    [found] = await auth.rows("SELECT clock_timestamp() + CAST(:d AS text)::interval AS moment", d=distance)
    at: datetime = found["moment"]
    return at
