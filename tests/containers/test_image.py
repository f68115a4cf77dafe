"""What is in the image, and what a container of it does, without a stack around it."""

import json
import os
import signal
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploy.container import PORTS
from deploy.local.processes import PROJECT_ROOT, poll_until
from tests.containers.docker import IMAGE, docker, ran

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]

_HARDENED = ("--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--network=none")


def inspect() -> dict[str, Any]:
    (found,) = json.loads(docker("image", "inspect", IMAGE))
    return dict(found)


def inside(script: str, *options: str) -> str:
    """What a shell prints in a container; as root where an option says so, to see what nobody else may."""
    return docker("run", *_HARDENED, *options, "--entrypoint", "sh", IMAGE, "-c", script)


def test_it_runs_as_nobody_in_particular() -> None:
    config = inspect()["Config"]

    user, _, group = config["User"].partition(":")
    assert user.isdigit()
    assert group.isdigit()
    assert int(user) > 0
    assert int(group) > 0
    assert inside("id -u; id -g").split() == [user, group]


def test_it_can_write_nothing_of_its_own() -> None:
    assert inside("find /app /opt/venv -writable ! -type l") == ""


@pytest.mark.parametrize("tool", ["pip", "pip3", "uv", "gcc", "cc", "c++", "make", "ld", "git", "curl", "wget"])
def test_nothing_builds_or_fetches(tool: str) -> None:
    assert inside(f"command -v {tool} || true") == ""


def test_python_can_install_nothing() -> None:
    names = ("pip", "setuptools", "ensurepip", "wheel", "uv")
    found = f"import importlib.util as util; print([name for name in {names} if util.find_spec(name)])"

    assert docker("run", *_HARDENED, "--entrypoint", "python", IMAGE, "-c", found).strip() == "[]"


def test_no_program_runs_with_the_rights_of_another() -> None:
    assert inside("find / -xdev -type f -perm /6000 2>/dev/null || true", "--user=0") == ""


def test_what_it_has_is_what_it_needs() -> None:
    """No tests, no embedded stack, no file with secrets, no notes of the build."""
    assert inside("ls -A /app").split() == ["alembic.ini", "deploy", "docs", "services", "shared"]
    assert inside("ls -A /app/deploy").split() == [
        *("__init__.py", "__pycache__", "container.py", "demo", "gateway", "topics.py")
    ]
    assert inside("find / -xdev -name '.env*' -not -path '/proc/*' 2>/dev/null || true", "--user=0") == ""


def test_nothing_tells_where_it_was_built_from() -> None:
    index = (
        os.environ.get("PIP_INDEX_URL")
        or subprocess.run(
            [sys.executable, "-m", "pip", "config", "get", "global.index-url"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
    )
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE)
    # Of the lines that this repository adds; the base image's own are not in our hands.
    said = history + json.dumps(inspect()["Config"])
    assert "INDEX_URL" not in said.upper()
    assert str(PROJECT_ROOT) not in said
    host = urlsplit(index).hostname
    if host:
        assert host not in said
        assert inside(f"grep -rlF {host} /app /opt/venv /home /tmp || true", "--user=0") == ""


def test_it_says_what_it_is() -> None:
    labels = inspect()["Config"]["Labels"]
    version = next(
        line.split('"')[1] for line in (PROJECT_ROOT / "pyproject.toml").open() if line.startswith("version = ")
    )

    assert labels["org.opencontainers.image.title"] == "Quality Compass"
    assert labels["org.opencontainers.image.version"] == version
    assert len(labels["org.opencontainers.image.revision"]) == 40


def test_it_looks_after_its_own_health_with_what_it_has() -> None:
    config = inspect()["Config"]

    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "deploy.container", "healthy"]
    assert set(config["ExposedPorts"]) == {f"{port}/tcp" for port in PORTS.values()}


@pytest.mark.parametrize("service", PORTS)
def test_a_service_without_settings_says_what_is_missing(service: str) -> None:
    done = ran("run", *_HARDENED, IMAGE, service)

    assert done.returncode == 2
    assert "COMPASS_DATABASE_URL" in done.stderr


def test_an_unknown_command_gets_the_usage() -> None:
    for command in ([], ["nonsense"], ["signals", "models"], ["signals", "../x"], ["migrate", "nobody"]):
        done = ran("run", *_HARDENED, IMAGE, *command)
        assert done.returncode == 2, command
        assert "migrate SERVICE" in done.stderr


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (["signals", "retention", "--help"], "older-than"),
        (["auth", "create_admin", "--help"], "--email"),
        (["activity", "dead_letters", "--help"], "replay"),
        (["workflow", "snapshot", "--help"], "usage"),
        (["demo", "--help"], "--as-of"),
    ],
)
def test_the_command_chooses(command: list[str], word: str) -> None:
    assert word in docker("run", *_HARDENED, IMAGE, *command)


def test_it_computes_signals_and_routes_on_a_read_only_file_system() -> None:
    assert json.loads(docker("run", *_HARDENED, IMAGE, "demo", "--dry-run", "--json"))["signals"] > 100
    rendered = json.loads(docker("run", *_HARDENED, IMAGE, "gateway"))
    assert [cluster["name"] for cluster in rendered["static_resources"]["clusters"]]


def test_a_job_ends_when_it_is_told_to() -> None:
    name = docker("run", "--detach", "--read-only", IMAGE, "demo", "--dry-run", "--count", "100000000").strip()

    def listens() -> bool:
        # The first process of a container is deaf to signals that it has no handler for: until Python is up, say.
        caught = docker("exec", name, "grep", "SigCgt", "/proc/1/status").split()[1]
        return bool(int(caught, 16) & 1 << signal.SIGTERM - 1)

    try:
        assert poll_until(listens, 60, interval=0.2)
        docker("stop", "--timeout", "20", name)
        (state,) = json.loads(docker("inspect", name))
        assert state["State"]["ExitCode"] != 137, "it had to be killed"
    finally:
        docker("rm", "--force", name)
