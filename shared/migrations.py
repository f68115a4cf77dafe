"""What the Alembic histories of all services have in common. Published functions here never change their effect."""

import asyncio
import os
from typing import Any, Final

from alembic import context, op
from sqlalchemy import Connection, MetaData, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

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
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=schema,
        compare_type=True,
        compare_server_default=True,
        include_object=_ours,
    )
    with context.begin_transaction():
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtext('compass.migration'), hashtext(:s))"), {"s": schema}
        )
        context.run_migrations()


def _ours(_: Any, name: str | None, kind: str, *__: Any) -> bool:
    return not (kind == "table" and name == "alembic_version")
