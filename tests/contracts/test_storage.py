"""Tables are stored and vacuumed in the database as the models say, which Alembic's own comparison leaves out."""

from collections.abc import Iterable
from importlib import import_module

import asyncpg
import pytest
from sqlalchemy import Table

from deploy.gateway.routes import SERVICES
from deploy.local.postgres import EmbeddedPostgres
from tests.support.service import migrate

OPTIONS = """
SELECT relname, reloptions FROM pg_class
WHERE relnamespace = to_regnamespace($1) AND relkind = 'r' AND reloptions IS NOT NULL
"""


@pytest.mark.parametrize("service", SERVICES)
async def test_the_history_leads_to_the_storage_of_the_models(postgres: EmbeddedPostgres, service: str) -> None:
    url = postgres.owner_url(service)
    migrate(service, url)
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(OPTIONS, service)
    finally:
        await connection.close()
    options = {table.name: table.dialect_options["postgresql"]["with"] for table in _tables(service)}
    assert {row["relname"]: dict(option.split("=") for option in row["reloptions"]) for row in rows} == {
        table: {name: str(value) for name, value in given.items()} for table, given in options.items() if given
    }


def _tables(service: str) -> Iterable[Table]:
    tables: Iterable[Table] = import_module(f"services.{service}.models").Base.metadata.tables.values()
    return tables
