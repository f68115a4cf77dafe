"""A migration that makes indexes of signals: nobody waits for it, and what was interrupted is made by the next run."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator

import asyncpg
import pytest

from deploy.local.postgres import EmbeddedPostgres
from tests.support.eventually import eventually
from tests.support.service import migrate

BEFORE, AFTER = "0005_outbox_channel", "0006_counted_together"
# Takes the lock that storing takes.
STORE = "UPDATE signals.signals SET updated_at = now() WHERE false"
_MIGRATING = "query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'"
WAITING = f"SELECT count(*) FROM pg_stat_activity WHERE {_MIGRATING}"  # noqa: S608 - a constant
END = WAITING.replace("count(*)", "pg_terminate_backend(pid)")
INVALID = "SELECT count(*) FROM pg_index WHERE indrelid = 'signals.signals'::regclass AND NOT indisvalid"
NAMES = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'signals'"


@pytest.fixture
async def url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    postgres.create_database("beside_ingest")
    url = postgres.owner_url("signals", "beside_ingest")
    migrate.__wrapped__("signals", url, BEFORE)
    yield url
    postgres.drop_database("beside_ingest")


async def migrating(url: str) -> Process:
    """A migration that has begun."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alembic", "-n", "signals", "upgrade", AFTER),
        env={**os.environ, "COMPASS_MIGRATION_DATABASE_URL": url},
        stderr=DEVNULL,
    )


async def test_ingest_and_reads_go_on_while_indexes_are_made(url: str) -> None:
    ingest, other = await asyncpg.connect(url), await asyncpg.connect(url, server_settings={"lock_timeout": "2s"})
    try:
        busy = ingest.transaction()
        await busy.start()
        await ingest.execute(STORE)
        migration, late = await migrating(url), await migrating(url)
        await eventually(lambda: other.fetchval(WAITING))
        await other.execute(STORE)
        await other.fetch("SELECT id FROM signals.signals LIMIT 1")
        await ingest.execute(STORE)
        await busy.commit()
        assert (await migration.wait(), await late.wait()) == (0, 0)
        assert await other.fetchval(INVALID) == 0
        indexes = {row["indexname"]: row["indexdef"] for row in await other.fetch(NAMES)}
        assert not [name for name in indexes if name.endswith("_new")]
        assert "workflow_status" in indexes["ix_signals_list_priority"]
    finally:
        await ingest.close()
        await other.close()


async def test_what_was_interrupted_is_made_by_the_next_run(url: str) -> None:
    ingest, other = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        busy = ingest.transaction()
        await busy.start()
        await ingest.execute(STORE)
        ended = await migrating(url)
        await eventually(lambda: other.fetchval(WAITING))
        await other.execute(END)
        assert await ended.wait() != 0
        await busy.rollback()
        assert await other.fetchval(INVALID) == 1
        again = await migrating(url)
        assert await again.wait() == 0
        assert await other.fetchval(INVALID) == 0
    finally:
        await ingest.close()
        await other.close()
