"""SQL of what is known of assignments: the last that an event or a snapshot of the workflow's told of each."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.events.topics import COMPASS_WORKFLOW

# One that comes late tells of an older state. Which is older say the numbers of one signal's events, and where an
# assignment was carried over to a newer detection, that event; only between signals otherwise the time, since the
# producer's clock may step. What cannot be read is left out, never an error: the log takes every event.
_LEARN: Final = text(
    """
    WITH told AS MATERIALIZED (
        SELECT CAST(state ->> 'assignment_id' AS uuid) AS assignment_id, time, position, subject, sequence,
               envelope #>> '{data,superseded_signal_id}' AS superseded, state, envelope #> '{data,label}' AS label
        FROM audit_log
        CROSS JOIN LATERAL (SELECT envelope #> '{data,assignment}' AS state) AS data
        WHERE position > :after AND position <= :up_to AND topic = :topic
          AND state ->> 'status' IS NOT NULL AND pg_input_is_valid(state ->> 'assignment_id', 'uuid')
    ), last_of_signal AS (
        SELECT DISTINCT ON (assignment_id, subject) *
        FROM told ORDER BY assignment_id, subject, sequence DESC, position DESC
    ), last AS (
        SELECT DISTINCT ON (assignment_id) *
        FROM last_of_signal AS one
        WHERE NOT EXISTS (
            SELECT FROM told AS other
            WHERE other.assignment_id = one.assignment_id AND other.superseded = CAST(one.subject AS text)
        )
        ORDER BY assignment_id, time DESC, position DESC
    )
    INSERT INTO known_assignments AS known
        (assignment_id, told_at, position, signal_id, sequence, status, assignee_id, assignee_name, role_type, due_at,
         snoozed_until, snoozed_until_worse, label)
    SELECT assignment_id, time, position, subject, sequence, told.status,
        CASE WHEN pg_input_is_valid(told.assignee_id, 'uuid') THEN CAST(told.assignee_id AS uuid) END,
        told.assignee_name, told.role_type,
        CASE WHEN pg_input_is_valid(told.due_at, 'timestamptz') THEN CAST(told.due_at AS timestamptz) END,
        CASE WHEN pg_input_is_valid(told.snoozed_until, 'timestamptz')
             THEN CAST(told.snoozed_until AS timestamptz) END,
        told.snoozed_until_worse IS NOT DISTINCT FROM 'true',
        label
    FROM last
    CROSS JOIN LATERAL (
        SELECT state ->> 'status' AS status, state #>> '{assignee,user_id}' AS assignee_id,
               state #>> '{assignee,name}' AS assignee_name, state ->> 'role_type' AS role_type,
               state ->> 'due_at' AS due_at, state ->> 'snoozed_until' AS snoozed_until,
               state ->> 'snoozed_until_worse' AS snoozed_until_worse
    ) AS told
    ON CONFLICT (assignment_id) DO UPDATE SET
        told_at = excluded.told_at, position = excluded.position, signal_id = excluded.signal_id,
        sequence = excluded.sequence, status = excluded.status, assignee_id = excluded.assignee_id,
        assignee_name = excluded.assignee_name, role_type = excluded.role_type, due_at = excluded.due_at,
        snoozed_until = excluded.snoozed_until, snoozed_until_worse = excluded.snoozed_until_worse,
        label = excluded.label
    WHERE CASE
        WHEN known.signal_id = excluded.signal_id
            THEN (known.sequence, known.position) < (excluded.sequence, excluded.position)
        WHEN EXISTS (
            SELECT FROM told
            WHERE told.assignment_id = known.assignment_id AND told.superseded = CAST(known.signal_id AS text)
        ) THEN true
        ELSE (known.told_at, known.position) < (excluded.told_at, excluded.position)
    END
    """
)


async def learn(session: AsyncSession, after: int, up_to: int) -> None:
    """Take over what the audit log's rows in this range of positions tell of assignments."""
    await session.execute(_LEARN, {"after": after, "up_to": up_to, "topic": COMPASS_WORKFLOW.name})
