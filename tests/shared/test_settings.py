"""A missing or bad variable stops the process with a line that names it."""

import pytest

from shared.settings import Environment, ServiceSettings, load

GOOD = {
    "COMPASS_DATABASE_URL": "postgresql://compass_signals:a-real-one@db/compass",
    "COMPASS_KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def test_production_is_what_nobody_said_otherwise() -> None:
    assert load(ServiceSettings).environment is Environment.PRODUCTION


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_variable_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(SystemExit) as stopped:
        load(ServiceSettings)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.splitlines() == [f"{name}: Field required"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COMPASS_ENVIRONMENT", "staging"),
        ("COMPASS_CONSUMER_BATCH_SIZE", "0"),
        ("COMPASS_LOG_LEVEL", "LOUD"),
        ("COMPASS_DATABASE_URL", "mysql://x"),
        ("COMPASS_STATEMENT_TIMEOUT_SECONDS", "soon"),
    ],
)
def test_a_bad_value_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        load(ServiceSettings)
    assert capsys.readouterr().err.startswith(f"{name}: ")


@pytest.mark.parametrize("password", ["", ":postgres", ":change-me"])
def test_production_refuses_default_passwords(
    password: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMPASS_DATABASE_URL", f"postgresql://compass{password}@db/compass")
    with pytest.raises(SystemExit):
        load(ServiceSettings)
    assert "COMPASS_DATABASE_URL" in capsys.readouterr().err
    monkeypatch.setenv("COMPASS_ENVIRONMENT", "local")
    assert load(ServiceSettings).is_local
