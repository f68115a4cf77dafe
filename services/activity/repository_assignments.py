"""SQL of what is known of assignments: the last that an event or a snapshot of the workflow's told of each."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.events.topics import COMPASS_WORKFLOW

# By the time of the event, since one that comes late tells of an older state. What cannot be read is left out, never
# an error: the log takes every event.
_LEARN: Final = text(
    """
    INSERT INTO known_assignments AS known
        (assignment_id, told_at, position, signal_id, status, assignee_id, assignee_name, role_type, due_at,
         snoozed_until, snoozed_until_worse, label)
    SELECT DISTINCT ON (assignment_id)
        CAST(assignment_id AS uuid), time, position, subject, told.status,
        CASE WHEN pg_input_is_valid(told.assignee_id, 'uuid') THEN CAST(told.assignee_id AS uuid) END,
        told.assignee_name, told.role_type,
        CASE WHEN pg_input_is_valid(told.due_at, 'timestamptz') THEN CAST(told.due_at AS timestamptz) END,
        CASE WHEN pg_input_is_valid(told.snoozed_until, 'timestamptz')
             THEN CAST(told.snoozed_until AS timestamptz) END,
        told.snoozed_until_worse IS NOT DISTINCT FROM 'true',
        envelope #> '{data,label}'
    FROM audit_log
    CROSS JOIN LATERAL (SELECT envelope #> '{data,assignment}' AS state) AS data
    CROSS JOIN LATERAL (
        SELECT state ->> 'assignment_id' AS assignment_id, state ->> 'status' AS status,
               state #>> '{assignee,user_id}' AS assignee_id, state #>> '{assignee,name}' AS assignee_name,
               state ->> 'role_type' AS role_type, state ->> 'due_at' AS due_at,
               state ->> 'snoozed_until' AS snoozed_until, state ->> 'snoozed_until_worse' AS snoozed_until_worse
    ) AS told
    WHERE position > :after AND position <= :up_to AND topic = :topic
      AND told.status IS NOT NULL AND pg_input_is_valid(told.assignment_id, 'uuid')
    ORDER BY assignment_id, time DESC, position DESC
    ON CONFLICT (assignment_id) DO UPDATE SET
        told_at = excluded.told_at, position = excluded.position, signal_id = excluded.signal_id,
        status = excluded.status, assignee_id = excluded.assignee_id, assignee_name = excluded.assignee_name,
        role_type = excluded.role_type, due_at = excluded.due_at, snoozed_until = excluded.snoozed_until,
        snoozed_until_worse = excluded.snoozed_until_worse, label = excluded.label
    WHERE (known.told_at, known.position) < (excluded.told_at, excluded.position)
    """
)


async def learn(session: AsyncSession, after: int, up_to: int) -> None:
    """Take over what the audit log's rows in this range of positions tell of assignments."""
    await session.execute(_LEARN, {"after": after, "up_to": up_to, "topic": COMPASS_WORKFLOW.name})
