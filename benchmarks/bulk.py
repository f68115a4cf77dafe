"""Bulk: 500 signals in one request, 100 of them refused; against writing the same 400 results.

The limit is told what to write: assignments, history, numbers and events, one statement each, one transaction. It locks
nothing, reads nothing, decides nothing and answers nothing.
"""

from time import perf_counter
from uuid import UUID, uuid4

import asyncpg

from benchmarks.measure import Figures, Report, alternate
from benchmarks.servers import Servers
from services.workflow.main import create
from services.workflow.settings import WorkflowSettings
from shared.db import create_engine, create_session_maker
from tests.support.service import migrate, service_settings, service_under_test
from tests.workflow.world import ADMIN, EVERYBODY, NURSING, World, detection, signal_event, user_event

ITEMS = 500
GOOD = 400
SECONDS_TO_REACH = 2.0


async def run(servers: Servers, rounds: int) -> list[Report]:
    """Measure on servers of their own, in transactions that commit."""
    postgres = servers.postgres
    migrate("workflow", postgres.owner_url("workflow"))
    settings = service_settings(WorkflowSettings, postgres.service_url("workflow"))
    engine = create_engine(settings, "workflow")
    connection = await asyncpg.connect(postgres.service_url("workflow"), server_settings={"search_path": "workflow"})
    seconds: list[float] = []
    async with service_under_test("workflow", create, WorkflowSettings, postgres) as service:
        service.session_maker = service.app.state.session_maker = create_session_maker(engine)
        world = World(service)
        await world.hear_users(*(user_event(user) for user in EVERYBODY))

        async def ours() -> float:
            signals = await _new_signals(world)
            items = [
                {"signal_id": signal, "move": {"status": "closed"}}
                if number % (ITEMS // (ITEMS - GOOD)) == 0
                else {
                    "signal_id": signal,
                    "assign": {"assignee_id": NURSING.id, "role_type": "nursing_leadership", "notes": "Please look."},
                }
                for number, signal in enumerate(signals)
            ]
            started = perf_counter()
            answer = await world.call(ADMIN, "POST", "/assignments/bulk", {"items": items})
            seconds.append(perf_counter() - started)
            assert (answer.json()["succeeded"], answer.json()["failed"]) == (GOOD, ITEMS - GOOD)
            return GOOD / seconds[-1]

        async def limit() -> float:
            signals = [uuid4() for _ in range(GOOD)]
            value = await connection.fetchval("SELECT value FROM outbox LIMIT 1")
            started = perf_counter()
            async with connection.transaction():
                await _write(connection, signals, value or b"x" * 1300)
            return GOOD / (perf_counter() - started)

        mine, theirs = await alternate(rounds, ours, limit)
    await connection.close()
    await engine.dispose()
    return [
        Report(
            "bulk",
            Figures("bulk", "signals/s", mine),
            Figures("  limit: writing the results", "signals/s", theirs),
            to_reach=GOOD / SECONDS_TO_REACH / max(theirs),
            notes=[
                f"a request of {ITEMS} with {ITEMS - GOOD} refused took {min(seconds):.2f} to {max(seconds):.2f} s; "
                f"to stay below {SECONDS_TO_REACH:g} s"
            ],
        )
    ]


async def _new_signals(world: World) -> list[UUID]:
    entities = [uuid4() for _ in range(ITEMS)]
    await world.hear_signals(*(signal_event(entity, 1) for entity in entities))
    return [detection(entity, 1) for entity in entities]


async def _write(connection: asyncpg.Connection, signals: list[UUID], value: bytes) -> None:
    ids = [uuid4() for _ in signals]
    await connection.execute(
        """
        INSERT INTO assignments (id, signal_id, entity_id, status, assignee_id, assigner_id, role_type, notes,
                                 assigned_at, version)
        SELECT id, signal_id, signal_id, 'assigned', $3, $4, 'nursing_leadership', 'Please look.', now(), 1
        FROM unnest($1::uuid[], $2::uuid[]) AS made (id, signal_id)
        """,
        ids,
        signals,
        NURSING.id,
        ADMIN.id,
    )
    await connection.execute(
        """
        INSERT INTO assignment_transitions (assignment_id, entity_id, signal_id, kind, from_status, to_status, actor_id,
                                            actor_name, assignee_id, assignee_name, notes, created_at)
        SELECT id, signal_id, signal_id, 'assigned', 'new', 'assigned', $3, 'Admin', $4, 'Nursing Lead', 'Please look.',
               now()
        FROM unnest($1::uuid[], $2::uuid[]) AS made (id, signal_id)
        """,
        ids,
        signals,
        ADMIN.id,
        NURSING.id,
    )
    await connection.execute(
        "INSERT INTO event_sequences (subject, last) SELECT subject, 1 FROM unnest($1::uuid[]) AS made (subject)",
        signals,
    )
    await connection.execute(
        "INSERT INTO outbox (topic, key, value) SELECT 'compass.workflow.v1', convert_to(key::text, 'UTF8'), $2 "
        "FROM unnest($1::uuid[]) AS made (key)",
        signals,
        value,
    )
