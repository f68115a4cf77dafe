"""What the benchmark gives its peer to store: the rows that ingest makes, column by column and value by value."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from benchmarks import sink_rows
from deploy.demo.load import load
from deploy.local.postgres import EmbeddedPostgres
from services.signals import repository_ingest
from services.signals.consumers import engine_signals
from services.signals.settings import SignalsSettings
from shared.db import SessionMaker
from shared.events.topics import ENGINE_SIGNALS
from shared.kafka import BatchProcessor
from tests.support.factories import engine_signal, message

ODD = engine_signal(
    description="Quotes \"double\" and 'single', a \\ and a \\n, a line\nmore, a tab\t, {braces}, ünïcode ☃, NULL",
    facility_id=None,
    entity_dimensions={"unit": 'a "quoted" \\ unit'},
    detected_at="2026-07-01T12:34:56.789012+02:00",
    unknown_to_us={"figures": [1.10, 1e-7, 12345678901234567890], "nothing": None},
)

# What the sink declares the arrays of a column as, by the column's type in the schema of the messages.
SQL_TYPES = {
    "io.debezium.data.Uuid": "uuid",
    "io.debezium.time.ZonedTimestamp": "timestamp(6) with time zone",
    "io.debezium.data.Json": "jsonb",
    "boolean": "boolean",
    "int32": "integer",
    "double": "double precision",
    "string": "text",
}


@pytest.fixture
async def owner(postgres: EmbeddedPostgres, own_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        postgres.admin_url, database=own_database, server_settings={"search_path": "signals"}
    )
    yield connection
    await connection.close()


async def test_the_row_that_comes_of_a_message_is_the_row_that_ingest_wrote(
    owner: asyncpg.Connection, committing: SessionMaker, settings: SignalsSettings
) -> None:
    messages = [message(ENGINE_SIGNALS, signal) for signal in [*load(20, 1, 24000), ODD]]
    await BatchProcessor("signals", engine_signals(settings), committing)(messages)
    rows = await stored(owner)
    assert len(rows) == 21
    assert rows[0]["extra"] is None or rows[-1]["extra"] is None
    sent = [json.loads(sink_rows.message(row)) for row in rows]

    await owner.execute("TRUNCATE signals")
    for statement in sink_rows.casts():
        await owner.execute(statement)
    await upsert(owner, sent)
    assert await stored(owner) == rows

    await upsert(owner, sent)
    assert await stored(owner) == rows


async def test_a_message_holds_what_ingest_writes_and_nothing_that_is_null(
    owner: asyncpg.Connection, committing: SessionMaker, settings: SignalsSettings
) -> None:
    await BatchProcessor("signals", engine_signals(settings), committing)([message(ENGINE_SIGNALS, ODD)])
    [row] = await stored(owner)
    fields = {field["field"]: field for field in json.loads(sink_rows.schema())["fields"]}

    assert tuple(fields) == repository_ingest.COLUMNS
    assert [name for name, field in fields.items() if not field["optional"]] == [sink_rows.KEY]
    sent = json.loads(sink_rows.message(row))
    assert set(sent) == {name for name in fields if row[name] is not None}
    assert "facility_id" not in sent
    assert json.loads(sent["extra"])["unknown_to_us"]["figures"] == [1.1, 1e-7, 12345678901234567890]


async def stored(owner: asyncpg.Connection) -> list[dict[str, Any]]:
    columns = ", ".join(repository_ingest.COLUMNS)
    return [dict(row) for row in await owner.fetch(f"SELECT {columns} FROM signals ORDER BY id")]  # noqa: S608


async def upsert(owner: asyncpg.Connection, rows: list[dict[str, Any]]) -> None:
    """As the sink with UNNEST does: an array per column, of the type that it takes from the schema."""
    fields = json.loads(sink_rows.schema())["fields"]
    names = [field["field"] for field in fields]
    arrays = ", ".join(
        f"CAST(CAST(${place} AS text[]) AS {SQL_TYPES[field.get('name', field['type'])]}[])"
        for place, field in enumerate(fields, 1)
    )
    updates = ", ".join(f"{name} = excluded.{name}" for name in names if name != sink_rows.KEY)
    await owner.execute(
        f"INSERT INTO signals ({', '.join(names)}) SELECT * FROM unnest({arrays}) "  # noqa: S608 - names of columns
        f"ON CONFLICT ({sink_rows.KEY}) DO UPDATE SET {updates}",
        *([text(row.get(name)) for row in rows] for name in names),
    )


def text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
