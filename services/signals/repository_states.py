"""Stored detections with all that their events carry: for insights, recomputation and snapshots."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncSession

from services.signals.service_content import FIELDS, Content, state_of
from shared.db import raw_connection
from shared.events.signals import SignalState

_STATE: Final = f"""
    SELECT id, entity_id, detected_at, is_current, previous_signal_id, event_sequence,
           (SELECT row_to_json(content) FROM (SELECT {", ".join(FIELDS)}) AS content)::text AS content
    FROM signals
"""  # noqa: S608 - names of columns
_SET_SEQUENCES: Final = """
    UPDATE signals SET event_sequence = told.sequence
    FROM unnest($1::uuid[], $2::integer[]) AS told (id, sequence)
    WHERE signals.id = told.id
"""

_SEQUENCES: Final = """
    SELECT id, event_sequence FROM signals WHERE id = ANY($1)
    UNION ALL SELECT id, event_sequence FROM archived_signals WHERE id = ANY($1)
"""

# No signal has this id. "Not given, or greater" would keep the server from beginning in the middle of the index.
_BEFORE_ALL: Final = UUID(int=0)

_decode_content: Final = msgspec.json.Decoder(Content).decode


class StoredSignal(Struct):
    """A stored detection. ``event_sequence`` is that of the last event about it."""

    signal_id: UUID
    entity_id: UUID
    detected_at: datetime
    is_current: bool
    previous_signal_id: UUID | None
    event_sequence: int
    content: Content

    def state(self) -> SignalState:
        """The state that events carry."""
        return state_of(
            self.content,
            signal_id=self.signal_id,
            entity_id=self.entity_id,
            previous_signal_id=self.previous_signal_id,
            is_current=self.is_current,
            detected_at=self.detected_at,
        )


async def lock_current(session: AsyncSession, entity_ids: Collection[UUID]) -> dict[UUID, StoredSignal]:
    """The current detection of each entity that has one, which nobody else changes until the transaction ends."""
    found = await _fetch(
        session, "WHERE is_current AND entity_id = ANY($1) ORDER BY id FOR NO KEY UPDATE", list(entity_ids)
    )
    return {signal.entity_id: signal for signal in found}


async def lock(session: AsyncSession, signal_ids: Collection[UUID]) -> list[StoredSignal]:
    """Those of the detections that are stored, which nobody else changes until the transaction ends."""
    return await _fetch(session, "WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE", list(signal_ids))


async def sequences(session: AsyncSession, signal_ids: Collection[UUID]) -> dict[UUID, int]:
    """The sequence of the last event about each of the detections that is stored or archived."""
    connection = await raw_connection(session)
    return {row["id"]: row["event_sequence"] for row in await connection.fetch(_SEQUENCES, list(signal_ids))}


async def page(session: AsyncSession, *, current: bool, after: UUID | None, rows: int) -> list[StoredSignal]:
    """Up to so many current detections, or ones that a newer one replaced, in the order of their ids."""
    which = "is_current" if current else "NOT is_current"
    return await _fetch(session, f"WHERE {which} AND id > $1 ORDER BY id LIMIT {rows:d}", after or _BEFORE_ALL)


async def lock_page(
    session: AsyncSession, *, metric_id: str | None, current: bool, after: UUID | None, rows: int
) -> list[StoredSignal]:
    """The same, of one metric where it is named, and locked until the transaction ends."""
    which = "is_current" if current else "NOT is_current"
    parameters: list[Any] = [after or _BEFORE_ALL]
    if metric_id is not None:
        which += " AND metric_id = $2"
        parameters.append(metric_id)
    return await _fetch(session, f"WHERE {which} AND id > $1 ORDER BY id LIMIT {rows:d} FOR NO KEY UPDATE", *parameters)


async def count(session: AsyncSession, *, current: bool, metric_id: str | None = None) -> int:
    """How many there are."""
    which = "is_current" if current else "NOT is_current"
    connection = await raw_connection(session)
    found: int = await connection.fetchval(
        f"SELECT count(*) FROM signals WHERE {which} AND ($1::text IS NULL OR metric_id = $1)",  # noqa: S608 - constants
        metric_id,
    )
    return found


async def set_sequences(session: AsyncSession, sequences: Mapping[UUID, int]) -> None:
    """Note the sequences of the last events about these rows, which the transaction has locked."""
    connection = await raw_connection(session)
    await connection.execute(_SET_SEQUENCES, list(sequences), list(sequences.values()))


async def _fetch(session: AsyncSession, rest: str, *parameters: Any) -> list[StoredSignal]:
    connection = await raw_connection(session)
    return [
        StoredSignal(
            record["id"],
            record["entity_id"],
            record["detected_at"],
            record["is_current"],
            record["previous_signal_id"],
            record["event_sequence"],
            _decode_content(record["content"]),
        )
        for record in await connection.fetch(f"{_STATE} {rest}", *parameters)
    ]
