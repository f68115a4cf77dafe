"""The SQL of recomputation: how far each scope has come, and the classification of rows written anew."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.signals.models import Recomputation
from services.signals.repository_states import StoredSignal
from shared.db import raw_connection

# A transaction has its number before it reads the registry (the inbox comes first). So once all numbers before that
# of one which saw the change have ended, nobody classifies by what was before.
_OWN_NUMBER: Final = text("SELECT CAST(CAST(pg_current_xact_id() AS text) AS bigint)")
_OLDEST_NUMBER: Final = text("SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)")
_WRITE: Final = """
    UPDATE signals AS stored
    SET simplified_signal_type = new.type, simplified_severity = new.severity, simplified_severity_range = new.range,
        simplified_inputs = new.inputs, simplified_indicators = new.indicators, simplified_reasoning = new.reasoning,
        simplified_severity_calculation = new.calculation, polarity = CAST(new.polarity AS metric_polarity),
        magnitude_tier = CAST(new.magnitude AS magnitude_tier),
        trajectory_tier = CAST(new.trajectory AS trajectory_tier),
        consistency_tier = CAST(new.consistency AS consistency_tier),
        event_sequence = new.sequence, updated_at = now()
    FROM (
        SELECT id, type, severity, CAST(range AS jsonb) AS range, CAST(inputs AS jsonb) AS inputs,
               CAST(indicators AS jsonb) AS indicators, reasoning, CAST(calculation AS jsonb) AS calculation,
               polarity, magnitude, trajectory, consistency, sequence
        FROM unnest(
            $1::uuid[], $2::text[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::text[], $12::text[], $13::integer[]
        ) AS row (id, type, severity, range, inputs, indicators, reasoning, calculation, polarity, magnitude,
                  trajectory, consistency, sequence)
    ) AS new
    WHERE stored.id = new.id
"""


async def request(session: AsyncSession, scope: str, metric_id: str | None, version: str) -> None:
    """Ask for a scope; one in hand begins anew."""
    fresh: dict[str, Any] = {
        "metric_id": metric_id,
        "version": version,
        "ready_after": None,
        "history": False,
        "after_id": None,
        "examined": 0,
        "changed": 0,
        "requested_at": func.now(),
        "updated_at": func.now(),
        "finished_at": None,
    }
    statement = insert(Recomputation).values(scope=scope, **fresh)
    await session.execute(statement.on_conflict_do_update(index_elements=[Recomputation.scope], set_=fresh))


async def one(session: AsyncSession, scope: str) -> Recomputation | None:
    """How far a scope has come, if it was ever asked for."""
    return await session.get(Recomputation, scope, populate_existing=True)


async def lock(session: AsyncSession, scope: str) -> Recomputation | None:
    """The same, locked: several who work on a scope take turns."""
    return await session.get(Recomputation, scope, with_for_update=True, populate_existing=True)


async def next_of_the_registry(session: AsyncSession) -> Recomputation | None:
    """The metric that has waited longest and that nobody works on at this moment, locked."""
    query = (
        select(Recomputation)
        .where(Recomputation.metric_id.is_not(None), Recomputation.finished_at.is_(None))
        .order_by(Recomputation.requested_at, Recomputation.scope)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return (await session.scalars(query, execution_options={"populate_existing": True})).one_or_none()


async def is_ready(session: AsyncSession, job: Recomputation) -> bool:
    """Whether everybody who read what was before the request has ended; until then rows may still come out old."""
    if job.ready_after is None:
        number = (await session.execute(_OWN_NUMBER)).scalar_one()
        await session.execute(update(Recomputation).where(Recomputation.scope == job.scope).values(ready_after=number))
        return False
    return bool((await session.execute(_OLDEST_NUMBER)).scalar_one() >= job.ready_after)


async def look_again(session: AsyncSession) -> None:
    """Forget for whom unfinished scopes wait: in another server than that which gave them, the numbers mean nothing."""
    await session.execute(update(Recomputation).where(Recomputation.finished_at.is_(None)).values(ready_after=None))


async def advance(session: AsyncSession, job: Recomputation, after: UUID | None, examined: int, changed: int) -> None:
    """Note how far a locked scope has come. Without an id the present half, or the whole, is done."""
    done: dict[str, Any] = {"after_id": after}
    if after is None:
        done |= {"finished_at": func.clock_timestamp()} if job.history else {"history": True}
    await session.execute(
        update(Recomputation)
        .where(Recomputation.scope == job.scope)
        .values(
            examined=Recomputation.examined + examined,
            changed=Recomputation.changed + changed,
            updated_at=func.clock_timestamp(),
            **done,
        )
    )


async def write(session: AsyncSession, signals: Sequence[StoredSignal]) -> None:
    """Store the classifications and event sequences of rows that the transaction has locked."""
    connection = await raw_connection(session)
    contents = [signal.content for signal in signals]
    await connection.execute(
        _WRITE,
        [signal.signal_id for signal in signals],
        [content.simplified_signal_type.value for content in contents],
        [content.simplified_severity for content in contents],
        [bytes(content.simplified_severity_range).decode() for content in contents],
        [bytes(content.simplified_inputs).decode() for content in contents],
        [bytes(content.simplified_indicators).decode() for content in contents],
        [content.simplified_reasoning for content in contents],
        [bytes(content.simplified_severity_calculation).decode() for content in contents],
        [content.polarity.value for content in contents],
        [content.magnitude_tier and content.magnitude_tier.value for content in contents],
        [content.trajectory_tier and content.trajectory_tier.value for content in contents],
        [content.consistency_tier and content.consistency_tier.value for content in contents],
        [signal.event_sequence for signal in signals],
    )
