"""The SQL of ingest: what the database knows of a batch, and the batch's effects in one statement each.

All of it runs on the driver's connection inside the session's transaction: the statements are few and their
parameters many.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import compress, islice
from types import NoneType, UnionType
from typing import Any, Final, get_args
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Raw
from sqlalchemy.ext.asyncio import AsyncSession

from services.signals.service_content import FIELDS, JSON_FIELDS, Content, Known, MetricEntry, Past
from services.signals.service_validation import Identity
from shared.db import raw_connection
from shared.events.vocabulary import MagnitudeTier, MetricPolarity, SignalType

_ROWS_PER_CHUNK: Final = 50

_HEAD: Final = """
    SELECT id, entity_id, detected_at, is_current, event_sequence, content_hash, simplified_signal_type,
           simplified_severity, CAST(magnitude_tier AS text) AS magnitude_tier, previous_signal_id,
           description_edited_at IS NOT NULL AS description_edited, narrative_edited_at IS NOT NULL AS narrative_edited
    FROM signals
"""
_PAST: Final = (
    f"{_HEAD} WHERE id = ANY($1) UNION ALL {_HEAD} WHERE is_current AND entity_id = ANY($2) AND id <> ALL($1)"
)
_EARLIER: Final = """
    SELECT late.id AS late_id, earlier.detected_at, earlier.id
    FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS late (id, entity_id, detected_at)
    CROSS JOIN LATERAL (
        (
            SELECT id, detected_at FROM signals
            WHERE entity_id = late.entity_id AND NOT is_current AND detected_at < late.detected_at
            ORDER BY detected_at DESC LIMIT 1
        )
        UNION ALL
        (
            SELECT id, detected_at FROM archived_signals
            WHERE entity_id = late.entity_id AND detected_at < late.detected_at
            ORDER BY detected_at DESC LIMIT 1
        )
        ORDER BY detected_at DESC LIMIT 1
    ) AS earlier
"""
_METRICS: Final = """
    SELECT metric_id, display_name, CAST(polarity AS text) AS polarity,
           CAST(target_low AS float8) AS target_low, CAST(target_high AS float8) AS target_high
    FROM metrics WHERE metric_id = ANY($1)
"""
_DEMOTE: Final = "UPDATE signals SET is_current = false, updated_at = now() WHERE id = ANY($1) AND is_current"
# COPY is the fastest way in; the table is made once per connection and empty again after each transaction.
_CREATE_CORRECTIONS: Final = """
    CREATE TEMPORARY TABLE IF NOT EXISTS corrections
        (LIKE signals INCLUDING DEFAULTS, expected_sequence integer, is_compared boolean)
    ON COMMIT DELETE ROWS
"""
# The database compares where it can: to read the former content, JSON and all, and compare it here takes longer than
# everything else that is done for a row.
_UPDATE: Final = f"""
    UPDATE signals AS stored
    SET ({", ".join(FIELDS)}, content_hash, event_sequence, updated_at)
        = ROW ({", ".join(f"given.{name}" for name in FIELDS)}, given.content_hash, given.event_sequence, now())
    FROM corrections AS given
    WHERE stored.id = given.id AND stored.event_sequence = given.expected_sequence
        AND (
            given.is_compared
            OR ({", ".join(f"stored.{name}" for name in FIELDS)})
                IS DISTINCT FROM ({", ".join(f"given.{name}" for name in FIELDS)})
        )
    RETURNING new.id, {", ".join(f"old.{name} IS DISTINCT FROM new.{name} AS {name}" for name in FIELDS)}
"""  # noqa: S608 - names of columns
_UNCHANGED: Final = """
    SELECT count(*) FROM corrections AS given
    JOIN signals AS stored ON stored.id = given.id AND stored.event_sequence = given.expected_sequence
"""
_WRITE_TEXTS: Final = """
    UPDATE signals
    SET description = $2, why_matters_narrative = $3, event_sequence = $4, updated_at = now(),
        description_edited_at = CASE WHEN $5 THEN now() ELSE description_edited_at END,
        description_edited_by = CASE WHEN $5 THEN $7 ELSE description_edited_by END,
        narrative_edited_at = CASE WHEN $6 THEN now() ELSE narrative_edited_at END,
        narrative_edited_by = CASE WHEN $6 THEN $7 ELSE narrative_edited_by END
    WHERE id = $1
"""
COLUMNS: Final = (
    "id",
    "entity_id",
    "detected_at",
    "is_current",
    "previous_signal_id",
    "event_sequence",
    "content_hash",
    *FIELDS,
)
# The workflow's consumer takes the same lock alone before it keeps the state of a signal that it does not find: then
# either it sees our row, or we see what it kept.
_SHARE_LOCK: Final = """
    SELECT pg_advisory_xact_lock_shared(hashtext('compass.waiting-workflow'), hashtext(current_schema()))
"""
# Two statements, since there is hardly ever one to take: planning the update alone took half as long as the insert.
_TAKE_WAITING: Final = """
    DELETE FROM waiting_workflow_states WHERE signal_id = ANY($1)
    RETURNING signal_id, workflow_status, assignment_id, assignee_id, closed_at, workflow_sequence
"""
_SET_WORKFLOW_STATE: Final = """
    UPDATE signals
    SET workflow_status = $2, assignment_id = $3, assignee_id = $4, closed_at = $5, workflow_sequence = $6
    WHERE id = $1
"""

_encode: Final = msgspec.json.Encoder().encode
_decode_dimensions: Final = msgspec.json.Decoder(dict[str, str]).decode


class RaceLostError(Exception):
    """Another transaction changed the same signals first; the same work succeeds when it starts again."""

    sqlstate: Final = "40001"  # serialization_failure, which the consumer's framework tries again


async def past(session: AsyncSession, detections: Sequence[Identity]) -> Past:
    """The stored rows of these detections, and the current rows of their entities, without their content."""
    ids = {detection.signal_id for detection in detections}
    entities = {detection.entity_id for detection in detections}
    connection = await raw_connection(session)
    rows = [_head(record) for record in await connection.fetch(_PAST, list(ids), list(entities))]
    return Past(
        {row.signal_id: row for row in rows if row.signal_id in ids},
        {row.entity_id: row for row in rows if row.is_current and row.entity_id in entities},
    )


def _head(record: Any) -> Known:
    tier = record["magnitude_tier"]
    return Known(
        record["id"],
        record["entity_id"],
        record["detected_at"],
        record["is_current"],
        record["event_sequence"],
        record["content_hash"],
        SignalType(record["simplified_signal_type"]),
        record["simplified_severity"],
        tier and MagnitudeTier(tier),
        stored_sequence=record["event_sequence"],
        previous_signal_id=record["previous_signal_id"],
        description_edited=record["description_edited"],
        narrative_edited=record["narrative_edited"],
    )


async def load_contents(session: AsyncSession, rows: Sequence[Known]) -> None:
    """Complete stored rows with their content."""
    if not rows:
        return
    connection = await raw_connection(session)
    records = await connection.fetch(_CONTENTS, [row.signal_id for row in rows])
    found = {record["id"]: _stored_content(record) for record in records}
    for row in rows:
        row.content = found[row.signal_id]


def _stored_content(record: asyncpg.Record) -> Content:
    """The columns of `_CONTENTS` as the fields have them; by way of JSON it would take twice as long."""
    _, *values = record
    for place in _JSON_PLACES:
        text = values[place]
        values[place] = _NO_JSON if text is None else Raw(text.encode())
    values[_DIMENSIONS_PLACE] = _decode_dimensions(values[_DIMENSIONS_PLACE])
    for place, members in _ENUM_PLACES:
        if (name := values[place]) is not None:
            values[place] = members[name]
    return Content(*values)


async def earlier_detections(session: AsyncSession, late: Sequence[Identity]) -> dict[UUID, tuple[datetime, UUID]]:
    """For detections older than their entity's current one: the stored detection right before each, if any."""
    connection = await raw_connection(session)
    records = await connection.fetch(
        _EARLIER,
        [detection.signal_id for detection in late],
        [detection.entity_id for detection in late],
        [detection.detected_at for detection in late],
    )
    return {record["late_id"]: (record["detected_at"], record["id"]) for record in records}


async def metrics(session: AsyncSession, metric_ids: Collection[str]) -> dict[str, MetricEntry]:
    """The registry's entries of these metrics."""
    connection = await raw_connection(session)
    return {
        record["metric_id"]: MetricEntry(
            record["display_name"],
            MetricPolarity(record["polarity"]),
            None if record["target_low"] is None else (record["target_low"], record["target_high"]),
        )
        for record in await connection.fetch(_METRICS, list(metric_ids))
    }


async def demote(session: AsyncSession, rows: Sequence[Known]) -> None:
    """Make current rows history. Before the rows that replace them are inserted: an entity has one current row."""
    connection = await raw_connection(session)
    status = await connection.execute(_DEMOTE, [row.signal_id for row in rows])
    _require(int(status.rpartition(" ")[2]), len(rows))


async def update(session: AsyncSession, rows: Sequence[Known], compared: Collection[UUID]) -> dict[UUID, list[str]]:
    """Write the content of rows that were stored before; the names of the fields that are different now.

    Of those that are not `compared` yet, only the ones that differ are written. JSON that says the same is no
    difference.

    Raises:
        RaceLostError: where a row is not as it was read.
    """
    connection = await raw_connection(session)
    await connection.execute(_CREATE_CORRECTIONS)
    await connection.copy_to_table(
        "corrections",
        source=_chunks(f"{_line(row)}\t{row.stored_sequence}\t{_boolean(row.signal_id in compared)}\n" for row in rows),
        columns=(*COLUMNS, "expected_sequence", "is_compared"),
        null=_NULL,
    )
    changed = {row_id: list(compress(FIELDS, differs)) for row_id, *differs in await connection.fetch(_UPDATE)}
    if len(changed) < len(rows):
        _require(len(changed) + await connection.fetchval(_UNCHANGED), len(rows))
    return changed


async def locked(session: AsyncSession, signal_id: UUID) -> Known | None:
    """One row with its content, which nobody else changes until the transaction ends."""
    connection = await raw_connection(session)
    record = await connection.fetchrow(f"{_HEAD} WHERE id = $1 FOR UPDATE", signal_id)
    if record is None:
        return None
    row = _head(record)
    await load_contents(session, [row])
    return row


async def write_texts(session: AsyncSession, row: Known, changed: Collection[str], user_id: UUID) -> None:
    """Store the description and the narrative that a user wrote, and who it was."""
    connection = await raw_connection(session)
    content = _content(row)
    await connection.execute(
        _WRITE_TEXTS,
        row.signal_id,
        content.description,
        content.why_matters_narrative,
        row.event_sequence,
        "description" in changed,
        "why_matters_narrative" in changed,
        user_id,
    )


async def insert(session: AsyncSession, rows: Sequence[Known]) -> None:
    """Store new rows, with the workflow state that was kept for them, if any."""
    connection = await raw_connection(session)
    await connection.execute(_SHARE_LOCK)
    try:
        lines = _chunks(f"{_line(row)}\n" for row in rows)
        await connection.copy_to_table("signals", source=lines, columns=COLUMNS, null=_NULL)
    except asyncpg.UniqueViolationError as error:
        raise RaceLostError("another process stored the same entities") from error
    if waiting := await connection.fetch(_TAKE_WAITING, [row.signal_id for row in rows]):
        await connection.executemany(_SET_WORKFLOW_STATE, [tuple(state) for state in waiting])


def _require(found: int, expected: int) -> None:
    if found != expected:
        raise RaceLostError(f"{expected} rows were expected as they were read, but the database has {found}")


def _content(row: Known) -> Content:
    if row.content is None:
        raise RuntimeError(f"the content of {row.signal_id} was not loaded")
    return row.content


async def _chunks(lines: Iterable[str]) -> AsyncIterator[bytes]:
    """Lines piece by piece: the server stores one piece while the next is made."""
    remaining = iter(lines)
    while chunk := list(islice(remaining, _ROWS_PER_CHUNK)):
        yield "".join(chunk).encode()


def _line(row: Known) -> str:
    """A row in COPY's text format, without the end of the line."""
    previous = row.previous_signal_id
    values: list[Any] = list(msgspec.structs.astuple(_content(row)))
    for place in _JSON_PLACES:
        value = values[place]
        if isinstance(value, Raw):
            text = bytes(value).decode()
            values[place] = None if text == "null" else text
        else:
            values[place] = _encode(value).decode()
    for place in _NUMBER_PLACES:
        if (value := values[place]) is not None:
            values[place] = repr(value)
    for place in _BOOLEAN_PLACES:
        values[place] = _boolean(values[place])
    line = "\t".join([_NULL if value is None else value for value in values])
    if (
        "\\" in line
        or "\n" in line
        or "\r" in line
        or line.count("\t") != len(values) - 1
        or line.count(_NULL) != values.count(None)
    ):
        line = "\t".join([_NULL if value is None else _escaped(value) for value in values])
    # Hexadecimal digits without hyphens are a UUID, too, made in a third of the time.
    return (
        f"{row.signal_id.hex}\t{row.entity_id.hex}\t{row.detected_at.isoformat()}\t{_boolean(row.is_current)}\t"
        f"{_NULL if previous is None else previous.hex}\t{row.event_sequence}\t\\{_bytea(row.digest)}\t{line}"
    )


# COPY takes it for NULL where it is the whole value, before it looks at escapes. A text that is just this character is
# written as its escape; without a backslash in it, most lines need not be escaped value by value.
_NULL: Final = "\x02"
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", "\t": r"\t", "\r": r"\r", _NULL: r"\x02"})


def _bytea(value: bytes | None) -> str:
    return r"\x" + (value or b"").hex()


def _boolean(value: bool) -> str:
    return "t" if value else "f"


def _escaped(value: str) -> str:
    return value.translate(_ESCAPES)


def _places(*types: Any) -> tuple[int, ...]:
    return tuple(place for place, kind in enumerate(_KINDS) if kind in types and FIELDS[place] not in JSON_FIELDS)


def _kind(annotation: Any) -> Any:
    """What a field holds where it is not None."""
    given = [kind for kind in get_args(annotation) if kind is not NoneType]
    return given[0] if isinstance(annotation, UnionType) else annotation


def _read(name: str, kind: Any) -> str:
    """A column as the driver reads it fastest: JSON and enums as text, NUMERIC as the float that it was."""
    if name in JSON_FIELDS or kind in _ENUMS:
        return f"CAST({name} AS text)"
    return f"CAST({name} AS float8)" if kind is float else name


_KINDS: Final = tuple(_kind(field.type) for field in msgspec.structs.fields(Content))
_ENUMS: Final = {
    kind: {str(member): member for member in kind}
    for kind in _KINDS
    if isinstance(kind, type) and issubclass(kind, StrEnum)
}
_JSON_PLACES: Final = tuple(FIELDS.index(name) for name in FIELDS if name in JSON_FIELDS)
_DIMENSIONS_PLACE: Final = FIELDS.index("entity_dimensions")
_NUMBER_PLACES: Final = _places(int, float)
_BOOLEAN_PLACES: Final = _places(bool)
_ENUM_PLACES: Final = tuple((place, _ENUMS[kind]) for place, kind in enumerate(_KINDS) if kind in _ENUMS)
_NO_JSON: Final = Raw(b"null")
_CONTENTS: Final = f"SELECT id, {', '.join(map(_read, FIELDS, _KINDS))} FROM signals WHERE id = ANY($1)"  # noqa: S608 - our columns
