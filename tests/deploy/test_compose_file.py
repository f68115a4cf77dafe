"""deploy/compose.yaml as a text, and the script that makes its secrets: what can be seen without Docker."""

import re
import stat
import subprocess
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.container import PORTS
from deploy.local.postgres import INITDB_LOCALE
from deploy.local.processes import PROJECT_ROOT
from deploy.local.secrets import SERVICES

_TEXT = (PROJECT_ROOT / "deploy" / "compose.yaml").read_text()
_SCRIPT = PROJECT_ROOT / "deploy" / "make-env.sh"
_FILE: Mapping[str, Any] = yaml.safe_load(_TEXT)
_ALL: Mapping[str, Mapping[str, Any]] = _FILE["services"]
_JOBS = {"database", "topics", "gateway-configuration", "demo-users", "demo", *(f"migrate-{name}" for name in SERVICES)}


def make_env(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(_SCRIPT), *arguments], capture_output=True, text=True, check=False)


def variables(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    return dict(line.partition("=")[::2] for line in lines)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    file = tmp_path / ".env"
    assert make_env(str(file)).returncode == 0
    return file


@pytest.mark.parametrize("name", _ALL)
def test_everything_is_contained_limited_and_told_whether_to_come_back(name: str) -> None:
    service = _ALL[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert {"mem_limit", "pids_limit"} <= service.keys()
    assert service["restart"] == ("no" if name in _JOBS else "unless-stopped")
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


def test_settings_that_compose_does_not_name_may_stand_in_a_file_of_their_own() -> None:
    readers = {name for name, service in _ALL.items() if service.get("env_file")}
    files = [file for name in readers for file in _ALL[name]["env_file"]]

    assert readers == {*SERVICES, "gateway-configuration"}
    assert all(file == {"path": "settings.env", "required": False} for file in files)
    # It is no part of the repository, and may hold what is nobody's business.
    assert "/deploy/settings.env" in (PROJECT_ROOT / ".gitignore").read_text().splitlines()


def test_a_service_is_told_of_before_its_limit_of_memory_ends_it_everywhere() -> None:
    pod = (PROJECT_ROOT / "deploy" / "kubernetes" / "base" / "service" / "service.yaml").read_text()
    rules = (PROJECT_ROOT / "deploy" / "observability" / "alerts.yaml").read_text()
    (told,) = re.findall(r"process_resident_memory_bytes\{[^}]*\} > (\S+)", rules)
    (limit,) = re.findall(r"limits: \{ memory: (\d+)Mi \}", pod)

    assert {_ALL[name]["mem_limit"] for name in SERVICES} == {f"{limit}m"}
    assert float(told) < int(limit) * 2**20


def test_what_is_mounted_is_there() -> None:
    mounted = [
        volume.partition(":")[0]
        for service in _ALL.values()
        for volume in service.get("volumes", [])
        if volume.startswith(".")
    ]

    # Docker would make an empty folder of what is missing.
    assert [path for path in mounted if not (PROJECT_ROOT / "deploy" / path).exists()] == []
    assert mounted


def test_every_image_has_a_version_and_ours_is_one() -> None:
    images = {service["image"] for service in _ALL.values()}
    ours = {image for image in images if image.startswith("$")}

    assert ours == {"${COMPASS_IMAGE:-quality-compass}"}
    assert all(re.search(r":v?\d", image) for image in images - ours)


def test_only_the_gateway_is_published_and_grafana_on_this_machine_where_it_runs() -> None:
    published = {name: service["ports"] for name, service in _ALL.items() if "ports" in service}

    assert published.keys() == {"gateway", "grafana"}
    assert _ALL["grafana"]["profiles"] == ["observability"]
    assert all(port.startswith("127.0.0.1:") for port in published["grafana"])
    assert _FILE["networks"]["backend"]["internal"] is True
    assert {name for name, service in _ALL.items() if service["networks"] != ["backend"]} == published.keys()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_waits_for_its_schema_and_the_topics(service: str) -> None:
    done = {"condition": "service_completed_successfully"}

    assert _ALL[service]["depends_on"] == {f"migrate-{service}": done, "topics": done}
    assert _ALL[f"migrate-{service}"]["depends_on"] == {"database": done}
    assert _ALL[service]["command"] == [service]
    assert service in PORTS


def test_text_is_ordered_as_everywhere_else() -> None:
    assert _ALL["postgres"]["environment"]["POSTGRES_INITDB_ARGS"].split() == list(INITDB_LOCALE)


def test_the_demo_is_asked_for() -> None:
    assert {name for name, service in _ALL.items() if service.get("profiles") == ["demo"]} == {"demo", "demo-users"}


def test_no_secret_has_a_default(made: Path) -> None:
    secret = {name for name in variables(made) if name.endswith(("PASSWORD", "KEY"))}
    used = set(re.findall(r"\$\{(COMPASS_\w+)", _TEXT))

    assert secret <= used
    assert not re.findall(r"\$\{COMPASS_\w*(?:PASSWORD|_KEY|CLUSTER_ID)(?:\}|:?-)", _TEXT)


def test_all_that_must_be_set_is_made(made: Path) -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", _TEXT))

    assert needed
    assert needed <= variables(made).keys()


def test_secrets_are_random_and_their_owner_s_alone(made: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    make_env(str(other))
    first, second = variables(made), variables(other)

    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert first.pop("COMPASS_ENVIRONMENT") == second.pop("COMPASS_ENVIRONMENT") == "production"
    assert not set(first.values()) & set(second.values())
    assert len(set(first.values())) == len(first)
    assert all(re.fullmatch("[0-9a-f]{48}", value) for name, value in first.items() if name.endswith("PASSWORD"))
    assert len(b64decode(first["COMPASS_KEY_ENCRYPTION_KEY"], validate=True)) == 32
    assert re.fullmatch("C[A-Za-z0-9_-]{21}", first["COMPASS_KAFKA_CLUSTER_ID"])


def test_secrets_in_use_are_not_written_over(made: Path) -> None:
    before = made.read_text()

    again = make_env("--demo", str(made))

    assert again.returncode == 1
    assert "nothing was changed" in again.stderr
    assert made.read_text() == before
    assert [file.name for file in made.parent.iterdir()] == [made.name]


def test_only_who_asks_gets_demo_users(tmp_path: Path) -> None:
    make_env("--demo", str(tmp_path / "demo"))

    assert variables(tmp_path / "demo")["COMPASS_ENVIRONMENT"] == "local"
    assert make_env("--demon").returncode == 2
    assert make_env("a", "b").returncode == 2


def test_git_and_the_image_leave_the_secrets_alone() -> None:
    assert "/deploy/.env" in (PROJECT_ROOT / ".gitignore").read_text().splitlines()
    let_in = [line[1:] for line in (PROJECT_ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert let_in
    assert "deploy" not in let_in
    assert not any(".env" in line for line in let_in)
