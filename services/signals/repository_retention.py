"""SQL of what goes after its time, in batches that wait for nobody."""

from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


def _delete(table: str, key: str, condition: str) -> str:
    return f"""
        DELETE FROM {table} WHERE ({key}) IN (
            SELECT {key} FROM {table} WHERE {condition} LIMIT :rows FOR UPDATE SKIP LOCKED
        )
        RETURNING 1
    """  # noqa: S608 - constants


_WAITING_INSIGHTS: Final = text(_delete("insights", "id", "signal_id IS NULL AND received_at < :before"))
_REPLAYED_DEAD_LETTERS: Final = text(_delete("dead_letters", "id", "replayed_at < :before"))


async def delete_waiting_insights(session: AsyncSession, before: datetime, rows: int) -> int:
    """Delete insights that came before a time and still wait for a signal of their entity; answers how many."""
    return len((await session.execute(_WAITING_INSIGHTS, {"before": before, "rows": rows})).all())


async def delete_replayed_dead_letters(session: AsyncSession, before: datetime, rows: int) -> int:
    """Delete dead letters that were replayed before a time; answers how many."""
    return len((await session.execute(_REPLAYED_DEAD_LETTERS, {"before": before, "rows": rows})).all())
