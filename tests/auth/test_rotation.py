"""Signing keys are replaced without one refused good token, and the key that encrypts them is, too."""

import asyncio
import base64
import hashlib
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from services.auth import repository_keys, rotate_keys, service_keys, service_start, service_upkeep
from services.auth.keys import KeyDecryptionError, KeyRing
from services.auth.main import create
from services.auth.service_tools import Tools
from services.auth.settings import AuthSettings
from shared import commands
from shared.db import SessionMaker
from tests.auth.conftest import KEY, bearer, login
from tests.support.service import ServiceUnderTest

SECOND_KEY = base64.b64encode(hashlib.sha512(b"the next key of the tests").digest()[:32]).decode()
START = datetime(2026, 3, 1, tzinfo=UTC)


class Stream:
    """Tokens issued all the time, and verifiers of which one is as late as the gateway's cache lets it be."""

    def __init__(self, maker: SessionMaker, tools: Tools) -> None:
        self._maker = maker
        self._tools = tools
        self._sets: dict[int, set[str]] = {}
        self.signers: list[str] = []
        self.issued: list[tuple[int, str]] = []
        self.refused: list[str] = []

    async def tick(self, second: int) -> None:
        """One second of a stream: the set of keys as it is, a token, and every token that is alive verified."""
        now = START + timedelta(seconds=second)
        async with self._maker() as session:
            rows = await repository_keys.verifying(session, now)
            self._sets[second] = {row.kid for row in rows}
            signer = await service_keys.current_signer(session, self._tools.keys, now)
        if not self.signers or self.signers[-1] != signer.kid:
            self.signers.append(signer.kid)
        self.issued.append((second, signer.kid))
        settings = self._tools.settings
        latest = second - settings.jwks_cache_seconds
        for at, kid in self.issued:
            if second - at <= settings.access_token_seconds:
                for read_at in (second, max(latest, 0)):
                    if kid not in self._sets[read_at]:
                        self.refused.append(f"issued {at}, seen {second} with the keys of {read_at}")


async def test_two_rotations_under_a_stream_refuse_no_good_token(own_database: AuthSettings) -> None:
    """Every second of 14 minutes: whoever has the keys of now or of a cache's age ago knows every living token's."""
    settings = own_database.model_copy(update={"jwks_cache_seconds": 60, "access_token_seconds": 120})
    tools: Tools = create(settings).state.tools
    async with commands.database(settings, "auth") as maker:
        await service_upkeep.once(maker, tools, START)
        stream = Stream(maker, tools)
        for second in range(840):
            now = START + timedelta(seconds=second)
            if second in (100, 450):
                async with maker() as session, session.begin():
                    assert (await service_keys.rotate(session, tools, now))[1]
            if second % 60 == 0:
                await service_upkeep.once(maker, tools, now)
            if second % 4 == 0:
                await stream.tick(second)
        assert stream.refused == []
        assert len(stream.signers) == 3
        # The first has verified its last token, and nothing of it is left.
        async with maker() as session:
            left = [row.kid for row in await repository_keys.every(session)]
        assert stream.signers[0] not in left
        assert set(stream.signers[1:]) <= set(left)


async def test_the_schedule_makes_one_key_whoever_looks(own_database: AuthSettings) -> None:
    tools = [create(own_database).state.tools for _ in range(4)]
    async with commands.database(own_database, "auth") as maker:
        assert await service_upkeep.once(maker, tools[0], START)
        early = START + timedelta(days=30, seconds=-1)
        assert await asyncio.gather(*(service_upkeep.once(maker, each, early) for each in tools)) == [None] * 4
        due = START + timedelta(days=30)
        made = await asyncio.gather(*(service_upkeep.once(maker, each, due) for each in tools))
        assert len([kid for kid in made if kid]) == 1
        async with maker() as session:
            signers = [(await service_keys.current_signer(session, each.keys, due)).kid for each in tools]
            assert len(set(signers)) == 1
            assert signers[0] not in made
            later = due + own_database.key_publication
            signers = [(await service_keys.current_signer(session, each.keys, later)).kid for each in tools]
            assert set(signers) == {kid for kid in made if kid}
            told = (await session.execute(text("SELECT count(*) FROM outbox"))).scalar_one()
        assert told == 2


async def test_it_is_told_when_the_next_key_is_due(own_database: AuthSettings) -> None:
    tools, days = create(own_database).state.tools, timedelta(days=own_database.key_rotation_days)

    def told() -> float | None:
        return REGISTRY.get_sample_value("compass_auth_next_key_due_timestamp_seconds")

    async with commands.database(own_database, "auth") as maker:
        await service_upkeep.once(maker, tools, START)
        assert told() == (START + days).timestamp()
        await service_upkeep.once(maker, tools, START + days - timedelta(seconds=1))
        assert told() == (START + days).timestamp()
        await service_upkeep.once(maker, tools, START + days)
        assert told() == (START + 2 * days + own_database.key_publication).timestamp()


def test_a_key_is_published_long_enough_before_it_signs(own_database: AuthSettings) -> None:
    seconds = 2 * own_database.jwks_cache_seconds + own_database.access_token_seconds
    assert own_database.key_publication >= timedelta(seconds=seconds)


async def test_a_rotation_is_told_with_every_key_and_its_end(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    before = (await login(client)).json()["access_token"]
    tools: Tools = auth.app.state.tools
    now = datetime.now(UTC)
    async with auth.session_maker() as session, session.begin():
        signs_from, was_made = await service_keys.rotate(session, tools, now)
        assert await service_keys.rotate(session, tools, now) == (signs_from, False)
    assert was_made
    events = await auth.events("key.rotated")
    assert [event.sequence for event in events] == [1, 2]
    first, following = httpx.Response(200, content=bytes(events[-1].data)).json()["keys"]
    assert following["not_after"] is None
    assert datetime.fromisoformat(first["not_after"]) >= signs_from + tools.longest_acceptance
    published = (await client.get("/.well-known/jwks.json")).json()["keys"]
    assert [key["kid"] for key in published] == [first["kid"], following["kid"]]
    await auth.app.state.access.refresh()
    assert (await client.get("/api/auth/me", headers=bearer(before))).status_code == 200


async def test_compromised_keys_are_refused_at_once(auth: ServiceUnderTest, client: httpx.AsyncClient) -> None:
    tokens_before = (await login(client)).json()
    tools: Tools = auth.app.state.tools
    async with auth.session_maker() as session, session.begin():
        await service_keys.rotate(session, tools, datetime.now(UTC))
        await service_keys.replace_compromised(session, tools, datetime.now(UTC))
    await auth.app.state.access.refresh()
    refused = await client.get("/api/auth/me", headers=bearer(tokens_before["access_token"]))
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_token")
    again = await client.post("/api/auth/refresh", json={"refresh_token": tokens_before["refresh_token"]})
    assert (await client.get("/api/auth/me", headers=bearer(again.json()["access_token"]))).status_code == 200
    told = httpx.Response(200, content=bytes((await auth.events("key.rotated"))[-1].data)).json()
    assert len(told["keys"]) == 1


async def first_key(settings: AuthSettings) -> None:
    async with commands.database(settings, "auth") as maker:
        await service_upkeep.once(maker, create(settings).state.tools)


def test_the_command_publishes_the_next_key_once(
    own_database: AuthSettings, configure: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    configure()
    asyncio.run(first_key(own_database))
    rotate_keys.main([])
    rotate_keys.main([])
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("published the next key; it signs from ")
    assert second.startswith("the next key is published already; it signs from ")
    assert first[-25:] == second[-25:]
    rotate_keys.main(["--compromised"])
    assert capsys.readouterr().out.startswith("made a new key, which signs from now on")


def test_the_encryption_key_is_replaced_without_a_pause(
    own_database: AuthSettings, configure: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next key is known everywhere before it encrypts; afterwards the one before is not needed any more."""
    asyncio.run(first_key(own_database))

    async def sign(**update: Any) -> str:
        settings = own_database.model_copy(update=update)
        async with commands.database(settings, "auth") as maker, maker() as session:
            tools = Tools.make(settings)
            return (await service_keys.current_signer(session, tools.keys, datetime.now(UTC))).kid

    first, second = own_database.key_encryption_key, type(own_database.key_encryption_key)(SECOND_KEY)
    kid = asyncio.run(sign())
    with pytest.raises(KeyDecryptionError, match="was encrypted with"):
        asyncio.run(sign(key_encryption_key=second))
    assert asyncio.run(sign(key_encryption_key=first, other_key_encryption_key=second)) == kid
    assert asyncio.run(sign(key_encryption_key=second, other_key_encryption_key=first)) == kid

    configure(COMPASS_KEY_ENCRYPTION_KEY=SECOND_KEY)
    assert rotate_keys.main(["--encryption"]) == 1
    assert capsys.readouterr().err.startswith("COMPASS_OTHER_KEY_ENCRYPTION_KEY: ")
    assert asyncio.run(sign()) == kid
    monkeypatch.setenv("COMPASS_OTHER_KEY_ENCRYPTION_KEY", KEY)
    assert rotate_keys.main(["--encryption"]) == 0
    assert rotate_keys.main(["--encryption"]) == 0
    assert capsys.readouterr().out.splitlines() == ["encrypted 1 keys anew", "encrypted 0 keys anew"]
    assert asyncio.run(sign(key_encryption_key=second)) == kid
    with pytest.raises(KeyDecryptionError):
        asyncio.run(sign(key_encryption_key=first))


def test_production_refuses_a_key_that_does_not_fit(
    own_database: AuthSettings, configure: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(first_key(own_database))
    production = {"COMPASS_ENVIRONMENT": "production", "COMPASS_BCRYPT_COST": "12"}
    configure(**production)
    service_start.run(AuthSettings)
    configure(**production, COMPASS_KEY_ENCRYPTION_KEY=SECOND_KEY)
    with pytest.raises(SystemExit) as ended:
        service_start.run(AuthSettings)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("COMPASS_KEY_ENCRYPTION_KEY: signing key ")


def test_a_row_that_was_tampered_with_is_refused() -> None:
    one, two = os.urandom(32), os.urandom(32)
    ring = KeyRing(one, two)
    made = KeyRing(two).generate()
    row = type("Row", (), made)()
    columns = ring.encrypted_anew(row)
    assert columns is not None
    assert columns["encrypted_with"] != made["encrypted_with"]
    forged = type("Row", (), made | {"encrypted_with": columns["encrypted_with"]})()
    with pytest.raises(KeyDecryptionError, match="not encrypted as its row says"):
        ring.signer(forged)
