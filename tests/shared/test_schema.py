"""Which revisions of the schema a service can work with, while an upgrade goes on and otherwise."""

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from deploy.local.secrets import SERVICES
from shared.schema import is_behind


def history(service: str) -> list[str]:
    """The revisions of a service, the newest first."""
    configuration = Config()
    configuration.set_main_option("script_location", f"services:{service}/migrations")
    return [script.revision for script in ScriptDirectory.from_config(configuration).walk_revisions()]


@pytest.mark.parametrize("service", SERVICES)
def test_the_newest_revision_and_those_of_later_releases_will_do(service: str) -> None:
    assert not is_behind(service, history(service)[0])
    assert not is_behind(service, "f00dfeedbeef")


@pytest.mark.parametrize("service", SERVICES)
def test_an_earlier_revision_will_not_do(service: str) -> None:
    assert all(is_behind(service, revision) for revision in history(service)[1:])
