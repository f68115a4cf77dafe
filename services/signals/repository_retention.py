"""SQL of what goes after its time, in batches that wait for nobody."""

from datetime import datetime
from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession


def _delete(table: str, key: str, condition: str) -> TextClause:
    return text(f"""
        DELETE FROM {table} WHERE {key} IN (
            SELECT {key} FROM {table} WHERE {condition} LIMIT :rows FOR UPDATE SKIP LOCKED
        )
        RETURNING 1
    """)  # noqa: S608 - constants


WAITING_INSIGHTS: Final = _delete("insights", "id", "signal_id IS NULL AND received_at < :before")
"""Insights that came before a time and still wait for a signal of their entity."""
WAITING_STATES: Final = _delete("waiting_workflow_states", "signal_id", "received_at < :before")
"""Workflow states that came before a time and still wait for their signal."""
REPLAYED_DEAD_LETTERS: Final = _delete("dead_letters", "id", "replayed_at < :before")
"""Dead letters that were replayed before a time."""


async def delete(session: AsyncSession, which: TextClause, before: datetime, rows: int) -> int:
    """Delete up to so many of one of these kinds; answers how many."""
    return len((await session.execute(which, {"before": before, "rows": rows})).all())
