"""A row of `signals` as a message that a JDBC sink of Kafka Connect can store: plain JSON, the schema kept beside it.

The message holds the columns that ingest writes, as ingest wrote them; all others have defaults. A column that is
NULL is left out: its reader takes it for NULL, and the message gets no longer by it. Figures are JSON numbers, as the
engine sends them. What JSON has no type for is text under the logical names that Debezium's sink knows; enums and the
digest, for which it has no name that works, are plain text, for which the sink's table needs `casts`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from services.signals.models import Signal
from services.signals.repository_ingest import COLUMNS
from services.signals.service_content import JSON_FIELDS

KEY: Final = "id"

_TYPES: Final = {name: Signal.__table__.columns[name].type for name in COLUMNS}
# The first that fits: an Enum of SQLAlchemy is a String as well.
_CONNECT_TYPES: Final[Sequence[tuple[type[sa.types.TypeEngine[Any]], dict[str, Any]]]] = (
    (sa.Uuid, {"type": "string", "name": "io.debezium.data.Uuid"}),
    (sa.DateTime, {"type": "string", "name": "io.debezium.time.ZonedTimestamp"}),
    (
        JSONB,
        {
            "type": "string",
            "name": "io.debezium.data.Json",
            # Without it the sink takes it for json.
            "parameters": {"__debezium.source.column.type": "JSONB"},
        },
    ),
    (sa.Boolean, {"type": "boolean"}),
    (sa.Integer, {"type": "int32"}),
    (sa.Numeric, {"type": "double"}),
    (sa.LargeBinary, {"type": "string"}),
    (sa.String, {"type": "string"}),
)

_encode: Final = msgspec.json.Encoder().encode


def schema() -> str:
    """The schema of the messages as JSON, for the `schema.content` of Connect's JsonConverter."""
    fields = [{"field": name, "optional": name != KEY, **_connect_type(kind)} for name, kind in _TYPES.items()]
    return json.dumps({"type": "struct", "name": "signals", "optional": False, "fields": fields})


def casts() -> list[str]:
    """Statements for a table's owner: PostgreSQL itself lets nobody assign text to an enum or to bytes."""
    names = {kind.name for kind in _TYPES.values() if isinstance(kind, sa.Enum)}
    return [
        f"CREATE CAST (text AS {name}) WITH INOUT AS ASSIGNMENT" for name in ("bytea", *sorted(filter(None, names)))
    ]


def message(row: Mapping[str, Any]) -> bytes:
    """A stored row, with the types that asyncpg gives, as a message."""
    return _encode({name: _value(name, row[name]) for name in COLUMNS if row[name] is not None})


def _connect_type(kind: sa.types.TypeEngine[Any]) -> dict[str, Any]:
    return next(connect for sql, connect in _CONNECT_TYPES if isinstance(kind, sql))


def _value(name: str, value: Any) -> Any:
    if name in JSON_FIELDS:
        return msgspec.json.format(value, indent=-1)  # as short as the engine's
    match value:
        case UUID():
            return str(value)
        case datetime():
            return value.isoformat()
        case Decimal():
            return float(value)
        case bytes():
            return rf"\x{value.hex()}"
    return value
