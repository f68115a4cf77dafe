"""Who waits for whom in the database, for tests that hold a lock until somebody does."""

from sqlalchemy import text

from shared.db import SessionMaker

_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")


async def waiting_for_locks(maker: SessionMaker) -> int:
    """How many connections of this database wait for another's lock."""
    async with maker() as session:
        return int((await session.execute(_WAITING)).scalar_one())
