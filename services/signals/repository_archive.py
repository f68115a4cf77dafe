"""The SQL of the archive: history moved out of `signals`, recognised when it comes again, and brought back."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.signals.models import archived_signals
from services.signals.service_content import Known
from shared.db import raw_connection
from shared.events.vocabulary import MagnitudeTier, SignalType

_COLUMNS: Final = ", ".join(column.name for column in archived_signals.columns)
_MOVE: Final = f"""
    WITH chosen AS (
        SELECT id, entity_id, detected_at FROM signals
        WHERE NOT is_current AND detected_at < $1 AND (entity_id, detected_at) > ($2, $3)
        ORDER BY entity_id, detected_at LIMIT $4
        FOR UPDATE SKIP LOCKED
    ),
    moved AS (DELETE FROM signals WHERE id IN (SELECT id FROM chosen) RETURNING {_COLUMNS}),
    stored AS (INSERT INTO archived_signals ({_COLUMNS}) SELECT {_COLUMNS} FROM moved)
    SELECT entity_id, detected_at FROM chosen ORDER BY entity_id, detected_at
"""  # noqa: S608 - names of columns
_RESTORE: Final = f"""
    WITH back AS (DELETE FROM archived_signals WHERE id = ANY($1) RETURNING {_COLUMNS})
    INSERT INTO signals ({_COLUMNS}) SELECT {_COLUMNS} FROM back
"""  # noqa: S608 - names of columns
_FIND: Final = """
    SELECT id, entity_id, detected_at, event_sequence, content_hash, simplified_signal_type, simplified_severity,
           CAST(magnitude_tier AS text) AS magnitude_tier, previous_signal_id,
           description_edited_at IS NOT NULL AS description_edited, narrative_edited_at IS NOT NULL AS narrative_edited
    FROM archived_signals WHERE id = ANY($1)
"""


_RAISE: Final = """
    UPDATE archived_signals SET event_sequence = told.sequence
    FROM unnest($1::uuid[], $2::integer[]) AS told (id, sequence)
    WHERE archived_signals.id = told.id AND archived_signals.event_sequence < told.sequence
"""


class Place(NamedTuple):
    """Where a walk through the history has come to; history is walked entity by entity, oldest first."""

    entity_id: UUID
    detected_at: datetime


START: Final = Place(UUID(int=0), datetime(1, 1, 1, tzinfo=UTC))


async def move(session: AsyncSession, before: datetime, after: Place, rows: int) -> list[Place]:
    """Move up to so many detections that are history and older into the archive; answers which they were.

    What another transaction has locked is left for the next time, so that nobody is waited for.
    """
    connection = await raw_connection(session)
    records = await connection.fetch(_MOVE, before, after.entity_id, after.detected_at, rows)
    return [Place(record["entity_id"], record["detected_at"]) for record in records]


async def raise_sequences(session: AsyncSession, sequences: Mapping[UUID, int]) -> None:
    """Let archived detections have no lower sequence than these."""
    connection = await raw_connection(session)
    await connection.execute(_RAISE, list(sequences), list(sequences.values()))


async def find(session: AsyncSession, signal_ids: Collection[UUID]) -> dict[UUID, Known]:
    """Those of the detections that are in the archive, without their content."""
    connection = await raw_connection(session)
    return {
        record["id"]: Known(
            record["id"],
            record["entity_id"],
            record["detected_at"],
            is_current=False,
            event_sequence=record["event_sequence"],
            digest=record["content_hash"],
            signal_type=SignalType(record["simplified_signal_type"]),
            severity=record["simplified_severity"],
            magnitude_tier=record["magnitude_tier"] and MagnitudeTier(record["magnitude_tier"]),
            stored_sequence=record["event_sequence"],
            previous_signal_id=record["previous_signal_id"],
            description_edited=record["description_edited"],
            narrative_edited=record["narrative_edited"],
        )
        for record in await connection.fetch(_FIND, list(signal_ids))
    }


async def restore(session: AsyncSession, signal_ids: Collection[UUID]) -> None:
    """Bring detections back among the others, so that they can be corrected."""
    connection = await raw_connection(session)
    await connection.execute(_RESTORE, list(signal_ids))
