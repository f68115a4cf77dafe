"""A stack for leaders by the hundred: without limits of rates, with statistics of PostgreSQL's statements."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import asyncpg
import pytest

from benchmarks.api_load.accounts import ENVIRONMENT
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.stack import LocalStack
from tests.support.stack import UNLIMITED, free_settings, running, temporary_state_dir

_SETTINGS: Final = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "top"}
_STATEMENTS: Final = """
    SELECT replace(role.rolname, 'compass_', '') AS service,
        regexp_replace(left(query, 400), '\\s+', ' ', 'g') AS query,
        sum(calls)::bigint AS calls, sum(total_exec_time) AS milliseconds
    FROM pg_stat_statements AS ran JOIN pg_roles AS role ON role.oid = ran.userid
    WHERE role.rolname LIKE 'compass%' GROUP BY 1, 2 ORDER BY milliseconds DESC
"""


@contextmanager
def stack_for_leaders() -> Iterator[LocalStack]:
    """All processes, as durable as in production, with nothing in them."""
    with pytest.MonkeyPatch.context() as environment, temporary_state_dir() as state_dir:
        for name, value in (UNLIMITED | ENVIRONMENT).items():
            environment.setenv(name, value)
        settings = free_settings(state_dir)
        stack = LocalStack(settings)
        stack.postgres = EmbeddedPostgres(state_dir, settings.postgres_port, settings=_SETTINGS)
        with running(stack):
            yield stack


async def connect(stack: LocalStack) -> asyncpg.Connection:
    """To look at everything, and to count statements from now on."""
    connection = await asyncpg.connect(
        stack.postgres.admin_url, server_settings={"search_path": "signals, public"}, command_timeout=1800
    )
    await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public")
    return connection


async def statements(connection: asyncpg.Connection) -> list[dict[str, Any]]:
    """What PostgreSQL ran since the last look, that which took longest in all first."""
    rows = [dict(row) for row in await connection.fetch(_STATEMENTS)]
    await connection.execute("SELECT pg_stat_statements_reset()")
    return rows
