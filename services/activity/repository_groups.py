"""SQL that makes the feed from the audit log, and folds what it shows into groups.

All of it runs under the lock of `audit_head`. A row of the feed is made from the audit log alone, so that the feed can
be made again from it; a group is made from rows of the feed.
"""

from typing import Any, Final, cast

from sqlalchemy import CursorResult, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.events.topics import COMPASS_SIGNALS, COMPASS_WORKFLOW
from shared.events.vocabulary import ActivityEventType

FEED_TYPES: Final = [member.value for member in ActivityEventType]
SIGNAL_TOPICS: Final = [COMPASS_SIGNALS.name, COMPASS_WORKFLOW.name]
"""Topics on which the subject of an event that the feed shows is a signal."""

FEED_COLUMNS: Final = (
    "id, event_type, signal_id, user_id, payload, created_at, source, subject, sequence, type, summary, "
    "correlation_id, group_id, severity, critical, assignee_id"
)
FEED_ROW: Final = """
    event_id, CAST(feed_type AS activity_event_type),
    CASE WHEN topic = ANY(CAST(:signal_topics AS text[])) THEN subject END, actor_id, envelope -> 'data', time, source,
    subject, sequence, type, envelope ->> 'summary', envelope ->> 'correlationid',
    facts.group_id, facts.severity, facts.critical, facts.assignee_id
"""
"""The same columns of a row of `AUDITED`, in the same order."""

AUDITED: Final = """
    audit_log CROSS JOIN LATERAL feed_facts_v1(
        event_id, source, type, feed_type, actor_id, envelope ->> 'correlationid', time, envelope -> 'data'
    ) AS facts
"""

_SUMMARY_OF_GROUP: Final = """
    group_id AS id, (array_agg(event_type ORDER BY position))[1] AS event_type,
    (array_agg(user_id ORDER BY position))[1] AS user_id,
    (array_agg(created_at ORDER BY position))[1] AS created_at, count(*) AS event_count,
    min(created_at) AS first_at, max(created_at) AS last_at, max(position) AS last_position,
    (array_agg(id ORDER BY position))[1] AS first_event_id,
    (array_agg(id ORDER BY severity DESC NULLS LAST, position))[1] AS worst_event_id, max(severity) AS worst_severity
"""
_GROUP_COLUMNS: Final = (
    "id, event_type, user_id, created_at, event_count, first_at, last_at, last_position, first_event_id, "
    "worst_event_id, worst_severity"
)

# The group's place, user and opening event stay as they are: a page that was read never changes its order.
_FOLD: Final = f"""
    INSERT INTO feed_groups AS known ({_GROUP_COLUMNS})
    SELECT {_SUMMARY_OF_GROUP} FROM added GROUP BY group_id
    ON CONFLICT (id) DO UPDATE SET
        event_count = known.event_count + excluded.event_count,
        first_at = least(known.first_at, excluded.first_at),
        last_at = greatest(known.last_at, excluded.last_at),
        last_position = greatest(known.last_position, excluded.last_position),
        worst_event_id = CASE WHEN coalesce(excluded.worst_severity, -1) > coalesce(known.worst_severity, -1)
                              THEN excluded.worst_event_id ELSE known.worst_event_id END,
        worst_severity = greatest(known.worst_severity, excluded.worst_severity)
"""  # noqa: S608 - names of columns

_SHOW: Final = text(
    f"""
    WITH added AS (
        INSERT INTO activity_events ({FEED_COLUMNS}, position)
        SELECT {FEED_ROW}, :feed_position + row_number() OVER (ORDER BY position)
        FROM {AUDITED}
        WHERE position > :after AND position <= :up_to AND feed_type = ANY(CAST(:feed_types AS text[]))
        RETURNING *
    ),
    folded AS ({_FOLD})
    SELECT count(*) FROM added
    """  # noqa: S608 - names of columns
)

_LAST_UNGROUPED: Final = text(
    "SELECT position FROM activity_events WHERE group_id IS NULL ORDER BY position DESC LIMIT 1"
)
_GROUP_OLDER: Final = text(
    f"""
    WITH added AS (
        UPDATE activity_events SET
            (group_id, severity, critical, assignee_id) = (
                SELECT group_id, severity, critical, assignee_id
                FROM feed_facts_v1(activity_events.id, activity_events.source, activity_events.type,
                                   activity_events.event_type::text, activity_events.user_id,
                                   activity_events.correlation_id, activity_events.created_at, activity_events.payload)
            )
        WHERE group_id IS NULL AND position > :after AND position <= :up_to
        RETURNING *
    )
    {_FOLD}
    """  # noqa: S608 - names of columns
)

_RECOUNT: Final = text(
    f"""
    WITH counted AS (
        SELECT {_SUMMARY_OF_GROUP} FROM activity_events WHERE group_id BETWEEN :first AND :last GROUP BY group_id
    ),
    gone AS (
        DELETE FROM feed_groups
        WHERE id BETWEEN :first AND :last AND NOT EXISTS (SELECT FROM counted WHERE counted.id = feed_groups.id)
    )
    INSERT INTO feed_groups AS known ({_GROUP_COLUMNS})
    SELECT {_GROUP_COLUMNS} FROM counted
    ON CONFLICT (id) DO UPDATE SET
        event_type = excluded.event_type, user_id = excluded.user_id, event_count = excluded.event_count,
        first_at = excluded.first_at, last_at = excluded.last_at, last_position = excluded.last_position,
        first_event_id = excluded.first_event_id, worst_event_id = excluded.worst_event_id,
        worst_severity = excluded.worst_severity
    WHERE (known.event_type, known.user_id, known.event_count, known.first_at, known.last_at, known.last_position,
           known.first_event_id, known.worst_event_id, known.worst_severity)
        IS DISTINCT FROM (excluded.event_type, excluded.user_id, excluded.event_count, excluded.first_at,
           excluded.last_at, excluded.last_position, excluded.first_event_id, excluded.worst_event_id,
           excluded.worst_severity)
    """  # noqa: S608 - names of columns
)


async def show(session: AsyncSession, after: int, up_to: int, feed_position: int) -> int:
    """Show the audited events in a range that have a known feed type, from a feed position on; answers how many."""
    shown: int = (
        await session.execute(
            _SHOW,
            {
                "after": after,
                "up_to": up_to,
                "feed_position": feed_position,
                "feed_types": FEED_TYPES,
                "signal_topics": SIGNAL_TOPICS,
            },
        )
    ).scalar_one()
    return shown


async def last_ungrouped(session: AsyncSession) -> int | None:
    """The feed position of the newest event without a group; only code of before the groups leaves such."""
    position: int | None = (await session.execute(_LAST_UNGROUPED)).scalar_one_or_none()
    return position


async def group_older(session: AsyncSession, after: int, up_to: int) -> None:
    """Give those events in this range of feed positions that have no group theirs."""
    await session.execute(_GROUP_OLDER, {"after": after, "up_to": up_to})


async def recount(session: AsyncSession, first: Any, last: Any) -> int:
    """Make the groups with ids in this range, both ends included, from their events; answers how many differed."""
    result = cast("CursorResult[Any]", await session.execute(_RECOUNT, {"first": first, "last": last}))
    return result.rowcount
