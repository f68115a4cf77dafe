"""What the Alembic histories of all services have in common. Published functions here never change their effect."""

import asyncio
import os
from collections.abc import Mapping
from time import sleep
from typing import Any, Final

from alembic import context, op
from sqlalchemy import Connection, MetaData, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

_TURN_SECONDS: Final = 0.2

VARIABLE: Final = "COMPASS_MIGRATION_DATABASE_URL"

OUTBOX_NOTIFY_V1: Final = """
CREATE FUNCTION notify_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('outbox', '');
    RETURN NULL;
END
$$
"""
OUTBOX_TRIGGER_V1: Final = """
CREATE TRIGGER outbox_notify AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION notify_outbox()
"""
# A channel of the schema's own: services share a database, and whoever listens is woken, whatever it is told.
OUTBOX_NOTIFY_V2: Final = """
CREATE OR REPLACE FUNCTION notify_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('outbox_' || TG_TABLE_SCHEMA, '');
    RETURN NULL;
END
$$
"""


def create_outbox_trigger_v1() -> None:
    """Wake the relay when a transaction that published commits, whoever inserted the rows and how."""
    op.execute(OUTBOX_NOTIFY_V1)
    op.execute(OUTBOX_TRIGGER_V1)


def notify_own_channel_v2() -> None:
    """Wake the relay of this schema only. The release before looks once a second while both run."""
    op.execute(OUTBOX_NOTIFY_V2)


def notify_all_relays_v1() -> None:
    """Undo `notify_own_channel_v2`."""
    op.execute(OUTBOX_NOTIFY_V1.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))


def replace_indexes_v1(table: str, indexes: Mapping[str, str | None]) -> None:
    """Make or replace indexes, or with None take them away, while the table is read and written.

    In a transaction of none: transactions that are under way are waited for, and what was interrupted is made again
    by the next run. A definition begins with the columns: ``(a, b) WHERE c``.
    """
    with op.get_context().autocommit_block():
        for name, definition in indexes.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}_new")
            if definition is not None:
                op.execute(f"CREATE INDEX CONCURRENTLY {name}_new ON {table} {definition}")
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            if definition is not None:
                op.execute(f"ALTER INDEX {name}_new RENAME TO {name}")


def vacuum_outbox_v2() -> None:
    """Take an outbox's dead rows away four times as often. Nobody waits for the change."""
    _vacuum_outbox_after(5_000)


def vacuum_outbox_v1() -> None:
    """Undo `vacuum_outbox_v2`."""
    _vacuum_outbox_after(20_000)


def _vacuum_outbox_after(dead_rows: int) -> None:
    op.execute(f"ALTER TABLE outbox SET (autovacuum_vacuum_threshold = {dead_rows})")


def run(metadata: MetaData, schema: str) -> None:
    """Run the service's migrations as the schema's owner, in its schema only. Called by each ``env.py``.

    The URL comes from COMPASS_MIGRATION_DATABASE_URL; a second process that migrates at the same time waits.
    """
    url = os.environ.get(VARIABLE)
    if not url:
        raise SystemExit(f"{VARIABLE}: the database URL of the role that owns the schema {schema} is missing")
    asyncio.run(_migrate(url, metadata, schema))


async def _migrate(url: str, metadata: MetaData, schema: str) -> None:
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://", 1),
        poolclass=pool.NullPool,
        connect_args={"server_settings": {"search_path": schema, "application_name": f"compass-{schema}-migration"}},
    )
    async with engine.connect() as connection:
        await connection.run_sync(_run, metadata, schema)
    await engine.dispose()


def _run(connection: Connection, metadata: MetaData, schema: str) -> None:
    _wait_for_turn(connection, schema)
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=schema,
        compare_type=True,
        compare_server_default=True,
        include_object=_ours,
        # What comes later keeps no locks of what came before; and some is made in no transaction at all.
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _wait_for_turn(connection: Connection, schema: str) -> None:
    """Until the connection ends, nobody else migrates the schema.

    Asked for again and again: an index that is made concurrently waits for all statements that are under way, and so
    for one that waits for this lock.
    """
    mine = text("SELECT pg_try_advisory_lock(hashtext('compass.migration'), hashtext(:s))")
    while not connection.scalar(mine, {"s": schema}):
        connection.rollback()
        sleep(_TURN_SECONDS)
    connection.commit()


def _ours(_: Any, name: str | None, kind: str, *__: Any) -> bool:
    return not (kind == "table" and name == "alembic_version")
