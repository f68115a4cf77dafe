"""SQL that writes the audit log out: PostgreSQL makes the text, line by line, and the service only passes it on."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from services.activity.repository_audit_pages import AuditFilters, conditions
from shared.db import SessionMaker, raw_connection

_PIECE: Final = 5000

COLUMNS: Final = (
    "position",
    "recorded_at",
    "event_id",
    "source",
    "subject",
    "sequence",
    "type",
    "time",
    "actor_id",
    "feed_type",
    "hash",
    "envelope",
)
"""What an exported entry has, in this order."""

# The envelope as the text that PostgreSQL writes: the hash is taken over it.
_ENTRY: Final = {"hash": "encode(hash, 'hex') AS hash"}
_OBJECTS: Final = "SELECT row_to_json(entry) FROM (SELECT {columns} FROM audit_log WHERE {where}) AS entry"
# A spreadsheet calculates what begins with = + - @, a tab or a return. Ids, numbers, times, hashes and JSON never
# do; what a producer named may.
_FORMULA: Final = "CASE WHEN ascii({0}) IN (9, 13, 43, 45, 61, 64) THEN '''' || {0} ELSE {0} END AS {0}"
_RFC3339: Final = """to_char({0}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS {0}"""
_CELL: Final = _ENTRY | {
    "source": _FORMULA.format("source"),
    "type": _FORMULA.format("type"),
    "feed_type": _FORMULA.format("feed_type"),
    "recorded_at": _RFC3339.format("recorded_at"),
    "time": _RFC3339.format("time"),
}
_TABLE: Final = "SELECT {columns} FROM audit_log WHERE {where}"

NDJSON: Final[dict[str, Any]] = {
    "query": _OBJECTS.replace("{columns}", ", ".join(_ENTRY.get(name, name) for name in COLUMNS)),
    # JSON text has no control characters, so that nothing is ever quoted or escaped: a line is the object as it is.
    "options": {"format": "csv", "quote": "\x01", "delimiter": "\x02"},
}
CSV: Final[dict[str, Any]] = {
    "query": _TABLE.replace("{columns}", ", ".join(_CELL.get(name, name) for name in COLUMNS)),
    "options": {"format": "csv"},
}

Take = Callable[[bytes], Awaitable[None]]
"""Takes text as it comes; as long as it does not return, PostgreSQL waits."""


async def end(session: AsyncSession) -> int:
    """The position of the last entry."""
    connection = await raw_connection(session)
    position: int = await connection.fetchval("SELECT audit_position FROM audit_head")
    return position


async def write(session_maker: SessionMaker, filters: AuditFilters, form: dict[str, Any], take: Take) -> None:
    """Hand over all entries that are there now, in their order, as text.

    Piece by piece, each in a transaction of its own: rows never change, so that the pieces fit together, and none stays
    open for as long as the reader takes. A piece has no time limit, since the reader decides how long it takes.
    """
    async for query, values in _pieces(session_maker, filters):
        async with session_maker() as session:
            connection = await raw_connection(session)
            await connection.execute("SET LOCAL statement_timeout = 0")
            statement = form["query"].replace("{where}", query)
            await connection.copy_from_query(statement, *values, output=take, **form["options"])


async def _pieces(session_maker: SessionMaker, filters: AuditFilters) -> AsyncIterator[tuple[str, Sequence[Any]]]:
    """The condition of each piece, its order included, and the values in it."""
    wanted, values = conditions(filters)
    after, last = f"position > ${len(values) + 1}", f"position <= ${len(values) + 2}"
    where = " AND ".join([*wanted, after, last])
    piece = f"SELECT position FROM audit_log WHERE {where} ORDER BY position LIMIT {_PIECE}"  # noqa: S608 - conditions
    find_end = f"SELECT max(position) FROM ({piece}) AS piece"  # noqa: S608
    async with session_maker() as session:
        up_to = await end(session)
    done = 0
    while True:
        async with session_maker() as session:
            connection = await raw_connection(session)
            piece_end = await connection.fetchval(find_end, *values, done, up_to)
        if piece_end is None:
            return
        yield f"{where} ORDER BY position", [*values, done, piece_end]
        done = piece_end
