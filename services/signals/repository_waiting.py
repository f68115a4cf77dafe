"""SQL of workflow states whose signal is not here, once they have waited too long."""

from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_DELETE: Final = text(
    """
    DELETE FROM waiting_workflow_states WHERE signal_id IN (
        SELECT signal_id FROM waiting_workflow_states WHERE received_at < :before LIMIT :rows FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
    """
)


async def delete_waiting_states(session: AsyncSession, before: datetime, rows: int) -> int:
    """Delete states that came before a time and still wait for their signal; answers how many."""
    return len((await session.execute(_DELETE, {"before": before, "rows": rows})).all())
