"""Demo users, the first administrator, and what production refuses."""

import base64
import io
import os
from typing import Any

import pytest
from pydantic import ValidationError

from services.auth import create_admin, demo_users, repository, service_start
from services.auth.main import create
from services.auth.settings import AuthSettings
from services.auth.turns import Caller
from shared.db import create_engine, create_session_maker
from shared.events.vocabulary import UserRole
from shared.settings import load
from tests.auth.conftest import KEY
from tests.support.service import ServiceUnderTest


async def test_demo_users_are_five_one_of_each_role(auth: ServiceUnderTest) -> None:
    users = await auth.rows("SELECT email, role FROM users")
    assert {user["email"]: user["role"] for user in users} == {
        "admin@demo.example": "admin",
        "clinical@demo.example": "clinical_leadership",
        "nursing@demo.example": "nursing_leadership",
        "administration@demo.example": "administration",
        "viewer@demo.example": "viewer",
    }
    created = await auth.events("user.created")
    assert len(created) == 5
    assert {event.sequence for event in created} == {1}
    assert await demo_users.make(auth.session_maker, auth.app.state.tools.passwords) == []
    assert len(await auth.events("user.created")) == 5


def test_the_command_makes_demo_users_once(configure: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    assert demo_users.main() == 0
    assert demo_users.main() == 0
    assert capsys.readouterr().out.splitlines() == [
        "5 demo users made, 0 were there",
        "0 demo users made, 5 were there",
    ]


def test_production_makes_no_demo_users(configure: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configure(COMPASS_ENVIRONMENT="production", COMPASS_BCRYPT_COST="12")
    assert demo_users.main() == 2
    assert capsys.readouterr().err.startswith("COMPASS_ENVIRONMENT: ")


def test_production_refuses_to_start_with_demo_users(configure: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    service_start.run(AuthSettings)
    demo_users.main()
    service_start.run(AuthSettings)
    configure(COMPASS_ENVIRONMENT="production", COMPASS_BCRYPT_COST="12")
    with pytest.raises(SystemExit) as ended:
        service_start.run(AuthSettings)
    assert ended.value.code == 2
    assert "admin@demo.example" in capsys.readouterr().err


def test_production_starts_without_demo_users(configure: Any) -> None:
    configure(COMPASS_ENVIRONMENT="production", COMPASS_BCRYPT_COST="12")
    service_start.run(AuthSettings)


async def test_the_first_administrator(own_database: AuthSettings) -> None:
    engine = create_engine(own_database, "auth")
    maker = create_session_maker(engine)
    passwords = create(own_database).state.tools.passwords
    try:
        assert await create_admin.create(maker, passwords, "Boss@b.example", "The Boss", "a long password")
        assert not await create_admin.create(maker, passwords, "boss@B.example", "Another", "a long password")
        async with maker() as session:
            user = await repository.find_by_email(session, "BOSS@b.example")
            assert user is not None
            assert (user.role, user.name, user.email) == (UserRole.ADMIN, "The Boss", "boss@b.example")
            async with passwords.turn(Caller("boss", is_known=True)) as turn:
                assert await turn.verify("a long password", user.hashed_password)
    finally:
        await engine.dispose()


@pytest.mark.parametrize(
    ("email", "password", "said"),
    [
        ("boss", "a long password", "not an e-mail address"),
        ("boss@b.example", "short", "at least 12 bytes"),
        ("boss@b.example", "é" * 37, "at most 72 bytes"),
        ("boss@demo.example", "a long password", "local use only"),
        ("boss@b.example", "password12345", "easy to guess"),
        ("boss@b.example", "quality-compass", "name of this product"),
    ],
)
def test_a_bad_administrator_is_not_made(
    configure: Any, monkeypatch: pytest.MonkeyPatch, email: str, password: str, said: str
) -> None:
    configure(COMPASS_ENVIRONMENT="production", COMPASS_BCRYPT_COST="12")
    monkeypatch.setattr("sys.stdin", io.StringIO(password + "\n"))
    with pytest.raises(SystemExit, match=said):
        create_admin.main(["--email", email, "--name", "The Boss"])


def test_the_command_makes_an_administrator(
    configure: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configure()
    monkeypatch.setattr("sys.stdin", io.StringIO("a long password\n"))
    assert create_admin.main(["--email", "boss@b.example", "--name", "The Boss"]) == 0
    assert capsys.readouterr().out == "made the administrator boss@b.example\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("a long password\n"))
    assert create_admin.main(["--email", "boss@b.example", "--name", "The Boss"]) == 1
    assert "already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"key_encryption_key": "not base64!"}, "is not base64"),
        ({"key_encryption_key": base64.b64encode(os.urandom(16)).decode()}, "16 bytes, not 32"),
        ({"key_encryption_key": base64.b64encode(bytes(32)).decode()}, "is not random"),
        ({"bcrypt_cost": 10}, "below 12"),
    ],
)
def test_settings_that_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as raised:
        AuthSettings(
            **{
                "environment": "production",
                "database_url": "postgresql://compass_auth:long-secret@127.0.0.1/compass",
                "kafka_bootstrap_servers": "127.0.0.1:1",
                "key_encryption_key": KEY,
            }
            | changed
        )
    assert KEY not in str(raised.value)


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COMPASS_DATABASE_URL", "postgresql://compass_auth:long-secret@127.0.0.1/compass")
    monkeypatch.setenv("COMPASS_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.delenv("COMPASS_KEY_ENCRYPTION_KEY", raising=False)
    with pytest.raises(SystemExit):
        load(AuthSettings)
    assert capsys.readouterr().err == "COMPASS_KEY_ENCRYPTION_KEY: Field required\n"
