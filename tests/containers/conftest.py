"""One compose project for all tests of the run."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.compose import Compose

pytest.register_assert_rewrite("tests.e2e.api", "tests.e2e.stories")


@pytest.fixture(scope="session")
def compose() -> Iterator[Compose]:
    """Everything of deploy/compose.yaml runs, with the demo users; removed with its data at the end."""
    with tempfile.TemporaryDirectory(prefix="compass-compose-") as folder:
        project = Compose(Path(folder))
        try:
            project.up()
            project("run", "--rm", "-T", "demo-users")
            yield project
        finally:
            project.down(volumes=True)
