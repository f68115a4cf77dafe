"""Whether the database has the tables that this code was written for."""

from functools import cache

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


async def schema_problem(session: AsyncSession, service: str) -> str | None:
    """What keeps this code from working with the schema as it is; None where nothing does.

    A revision that this code does not know is of a later release, which has only added to the schema: while an upgrade
    goes on, the old instances serve beside the new ones.
    """
    revision = (await session.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
    if revision is None or is_behind(service, revision):
        return f"schema is at revision {revision}, not at head"
    return None


@cache
def is_behind(service: str, revision: str) -> bool:
    """Whether a revision is one of this code's histories before the last. Read once: probes come every few seconds."""
    configuration = Config()
    configuration.set_main_option("script_location", f"services:{service}/migrations")
    scripts = ScriptDirectory.from_config(configuration)
    if revision in scripts.get_heads():
        return False
    try:
        return scripts.get_revision(revision) is not None
    except CommandError:
        return False
