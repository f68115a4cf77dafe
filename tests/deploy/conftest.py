"""What the tests of the gateway share."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from deploy.local.postgres import EmbeddedPostgres
from tests.deploy.front import auth_environment


@pytest.fixture(scope="module")
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """An auth database of its own with the demo users."""
    name = "gateway_tests"
    postgres.create_database(name)
    alembic = [sys.executable, "-m", "alembic", "-n", "auth", "upgrade", "head"]
    owner = {**os.environ, "COMPASS_MIGRATION_DATABASE_URL": postgres.owner_url("auth", name)}
    subprocess.run(alembic, env=owner, check=True, capture_output=True)
    url = postgres.service_url("auth", name)
    users = [sys.executable, "-m", "services.auth.demo_users"]
    subprocess.run(users, env=auth_environment(url), check=True, capture_output=True)
    yield url
    postgres.drop_database(name)
