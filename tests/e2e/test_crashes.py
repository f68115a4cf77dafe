"""Killed in the middle of a full-speed load: in the end everything is there once, numbered and in order."""

import asyncio
from uuid import uuid4

from deploy.local.stack import LocalStack
from tests.e2e.api import count, query, send
from tests.support.eventually import eventually
from tests.support.factories import engine_signal

SIGNALS = 20_000


async def test_20000_signals_survive_kills_of_signals_and_activity(stack: LocalStack) -> None:
    node = f"node:crash-{uuid4().hex[:8]}"
    values = [
        engine_signal(canonical_node_id=node, facility=f"Facility {number}", facility_id=f"F{number}")
        for number in range(SIGNALS)
    ]

    async def stored() -> int:
        return await count(stack, "SELECT count(*) FROM signals.signals WHERE canonical_node_id = $1", node)

    async def audited() -> int:
        return await count(
            stack,
            "SELECT count(*) FROM activity.audit_log WHERE source = '/services/signals' AND subject IN "
            "(SELECT id FROM signals.signals WHERE canonical_node_id = $1)",
            node,
        )

    publishing = asyncio.create_task(send(stack, values))
    for share in (0.1, 0.5):
        await eventually(stored, lambda seen, least=int(SIGNALS * share): seen >= least, seconds=60)  # type: ignore[misc]
        for name in ("signals", "activity"):
            await asyncio.to_thread(stack.service(name).kill)
        for name in ("signals", "activity"):
            await asyncio.to_thread(stack.service(name).start)
    await publishing
    await eventually(stored, lambda seen: seen >= SIGNALS, seconds=90)
    await eventually(audited, lambda seen: seen >= SIGNALS, seconds=90)
    await eventually(lambda: count(stack, "SELECT count(*) FROM signals.outbox"), lambda left: left == 0, seconds=60)

    assert await stored() == SIGNALS
    assert await audited() == SIGNALS
    shown = await query(
        stack,
        "SELECT event_type::text, count(*) FROM activity.activity_events WHERE signal_id IN "
        "(SELECT id FROM signals.signals WHERE canonical_node_id = $1) GROUP BY event_type",
        node,
    )
    assert [tuple(row) for row in shown] == [("new_signal", SIGNALS)]
    # Every subject's numbers are 1..n in the order in which they were stored.
    gaps = await query(
        stack,
        """
        SELECT subject FROM (
            SELECT subject, sequence, row_number() OVER (PARTITION BY source, subject ORDER BY position) AS place
            FROM activity.audit_log
            WHERE subject IN (SELECT id FROM signals.signals WHERE canonical_node_id = $1)
        ) AS numbered WHERE sequence <> place LIMIT 5
        """,
        node,
    )
    assert gaps == []
