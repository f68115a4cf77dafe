"""Commands that run to their end while the stack starts: topics, migrations, demo users."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.logs import open_log
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.processes import PROJECT_ROOT
from deploy.local.secrets import SERVICES
from shared.settings import PREFIX

_JOB_SECONDS = 180.0


def run_job(what: str, arguments: Sequence[str], environment: Mapping[str, str], log_path: Path) -> str:
    """Run one command, keep its output in the log and return it; StackError with the output when it fails."""
    try:
        ran = subprocess.run(
            arguments,
            env={**os.environ, **environment},
            cwd=PROJECT_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_JOB_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"{what}: not done after {_JOB_SECONDS:.0f} s") from error
    with open_log(log_path) as log:
        log.write(f"# {what}\n{ran.stdout}".encode())
    if ran.returncode != 0:
        raise StackError(f"{what} failed:\n{ran.stdout.strip()}")
    return ran.stdout


def make_topics(kafka_servers: str, log_path: Path) -> str:
    """Run the topic job against the local broker; returns its report."""
    environment = {
        f"{PREFIX}KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        f"{PREFIX}ENVIRONMENT": "local",
        f"{PREFIX}TOPIC_REPLICATION_FACTOR": "1",
    }
    return run_job("the topic job", [sys.executable, "-m", "deploy.topics"], environment, log_path)


def alembic(service: str, database_url: str, log_path: Path, *command: str) -> str:
    """Run one Alembic command on a service's history as the owner of its schema; returns its output."""
    return run_job(
        f"alembic {' '.join(command)} for {service}",
        [sys.executable, "-m", "alembic", "-n", service, *command],
        {f"{PREFIX}MIGRATION_DATABASE_URL": database_url},
        log_path,
    )


def migrate(postgres: EmbeddedPostgres, log_path: Path, services: Sequence[str] = SERVICES) -> None:
    """Bring the schemas to the newest version, two at a time: each starts a Python, and there may be two cores."""

    def upgrade(service: str) -> None:
        alembic(service, postgres.owner_url(service), log_path, "upgrade", "head")

    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(upgrade, services):
            pass


def make_demo_users(environment: Mapping[str, str], log_path: Path) -> None:
    """Have the auth service make the demo users; those that exist stay as they are."""
    run_job("making the demo users", [sys.executable, "-m", "services.auth.demo_users"], environment, log_path)
