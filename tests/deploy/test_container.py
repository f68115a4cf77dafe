"""The entry point of the image: which command is what."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy import container
from services.activity.settings import ActivitySettings
from services.auth.settings import AuthSettings
from services.signals.settings import SignalsSettings
from services.workflow.settings import WorkflowSettings


@pytest.fixture
def first_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "cmdline"
    monkeypatch.setattr(container, "_FIRST_PROCESS", file)
    return file


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[BaseHTTPRequestHandler]]:
    """A signals service that is healthy and not ready."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 503)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("COMPASS_SIGNALS_PORT", str(server.server_port))
    yield Answers
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_ports_are_those_of_the_services() -> None:
    assert {
        "signals": SignalsSettings.model_fields["signals_port"].default,
        "workflow": WorkflowSettings.model_fields["workflow_port"].default,
        "activity": ActivitySettings.model_fields["activity_port"].default,
        "auth": AuthSettings.model_fields["auth_port"].default,
    } == container.PORTS


@pytest.mark.parametrize(
    ("command_line", "expected"),
    [
        ("python -m deploy.container signals", "signals"),
        ("/sbin/docker-init -- python -m deploy.container auth", "auth"),
        ("python -m deploy.container auth demo_users", None),
        ("python -m deploy.container migrate signals", None),
        ("python -m deploy.container topics", None),
        ("sleep 600", None),
        ("", None),
    ],
)
def test_the_service_of_a_container_is_known_by_its_command_line(command_line: str, expected: str | None) -> None:
    assert container.service_of([*command_line.split(" "), ""]) == expected


@pytest.mark.parametrize("name", ["retention", "recompute", "snapshot", "dead_letters"])
def test_what_can_be_run_by_itself_is_a_command(name: str) -> None:
    assert container.is_command("signals", name)


@pytest.mark.parametrize("name", ["models", "migrations", "nothing_like_it", "../auth/create_admin", "a.b", ""])
def test_nothing_else_is(name: str) -> None:
    assert not container.is_command("signals", name)


def test_health_is_the_answer_of_the_service(first_process: Path, service: object) -> None:
    first_process.write_text("python\0-m\0deploy.container\0signals\0")

    assert container.probe("/healthz") == 0
    assert container.probe("/readyz") == 1


def test_a_service_that_does_not_answer_is_not_healthy(
    first_process: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first_process.write_text("python\0-m\0deploy.container\0signals\0")
    monkeypatch.setenv("COMPASS_SIGNALS_PORT", "1")

    assert container.probe("/healthz") == 1
    assert "signals does not answer at port 1" in capsys.readouterr().out


def test_a_job_is_healthy_while_it_runs(first_process: Path) -> None:
    first_process.write_text("python\0-m\0deploy.container\0topics\0")

    assert container.probe("/readyz") == 0
