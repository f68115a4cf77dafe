"""What a person of a role must know since a moment, as data and as the plain text of a mail."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.activity import repository as feed_repository
from services.activity import repository_audit_pages, repository_reads
from services.activity import repository_digest as repository
from services.activity.repository import Record
from services.activity.repository_digest import Found, Window
from services.activity.schemas import Actor, FeedEvent, SignalLabel
from services.activity.schemas_digest import Digest, Overdue, OverdueSection, Section
from shared.errors import FieldProblem, InvalidError
from shared.events.vocabulary import ActivityEventType, RoleType, UserRole
from shared.pagination import COUNT_CAP

DEFAULT_SPAN: Final = timedelta(hours=24)
_SHOWN: Final = 10
_LEADERSHIP: Final = frozenset(role.value for role in RoleType)


async def digest(session: AsyncSession, user_id: UUID, role: UserRole, since: datetime | None) -> Digest:
    """All that the person must know.

    Raises:
        InvalidError: for a moment that has not come.
    """
    now = datetime.now(UTC)
    window = Window(now - DEFAULT_SPAN if since is None else since, now)
    if window.since > now:
        detail = "`since` lies in the future."
        raise InvalidError(detail, "bad_since", errors=[FieldProblem(pointer="/query/since", detail=detail)])
    found = {
        "new_critical": await repository.critical(session, window, _SHOWN),
        "escalated_to_me": await repository.escalated(session, user_id, window, _SHOWN),
        "assigned_to_me": await repository.assigned(session, user_id, window, _SHOWN),
        "regressions": await repository.of_type(session, ActivityEventType.REGRESSION, window, _SHOWN),
        "improvements": await repository.of_type(session, ActivityEventType.IMPROVEMENT, window, _SHOWN),
        "outcomes": await repository.of_type(session, ActivityEventType.INTERVENTION_OUTCOME, window, _SHOWN),
    }
    missing = None
    if role is UserRole.ADMIN:
        found["technical_errors"] = await repository.of_type(session, ActivityEventType.TECHNICAL_ERROR, window, _SHOWN)
        _, missing = await repository_audit_pages.count_missing(session)
    reads = await repository_reads.state(session, user_id)
    wanted = {one for part in found.values() for one in part.event_ids}
    events = await feed_repository.by_ids(session, list(wanted), reads)
    late = await repository.overdue(session, user_id, role.value if role in _LEADERSHIP else None, now, _SHOWN)
    overdue = _overdue(late, user_id, now)
    sections = {name: _section(part, events) for name, part in found.items()}
    return Digest(
        since=window.since,
        until=now,
        role=role,
        is_empty=not overdue.count and not missing and not any(part.count for part in sections.values()),
        position=reads.head,
        overdue=overdue,
        missing_sequences=missing,
        **{"technical_errors": None, **sections},
    )


def _section(found: Found, events: dict[UUID, Record]) -> Section:
    return Section(
        count=min(found.total, COUNT_CAP),
        count_is_capped=found.total > COUNT_CAP,
        events=[FeedEvent.of(events[event_id]) for event_id in found.event_ids],
    )


def _overdue(rows: Any, user_id: UUID, now: datetime) -> OverdueSection:
    total = rows[0].total if rows else 0
    return OverdueSection(
        count=min(total, COUNT_CAP),
        count_is_capped=total > COUNT_CAP,
        assignments=[
            Overdue(
                assignment_id=row.assignment_id,
                signal_id=row.signal_id,
                signal=SignalLabel.of({"label": row.label}),
                assignee=None if row.assignee_id is None else Actor(id=row.assignee_id, name=row.assignee_name),
                role_type=row.role_type,
                status=row.status,
                due_at=row.due_at,
                days_overdue=(now - row.due_at).days,
                is_mine=row.assignee_id == user_id,
            )
            for row in rows
        ],
    )


_TITLES: Final = {
    "assigned_to_me": "Assigned to you",
    "escalated_to_me": "Escalated to you",
    "new_critical": "New critical signals",
    "regressions": "Regressions",
    "improvements": "Improvements",
    "outcomes": "Outcomes of interventions",
    "technical_errors": "Technical errors",
}


def as_text(told: Digest, name: str) -> str:
    """The body of a mail: plain text, a line per fact, times in UTC."""
    role = told.role.replace("_", " ")
    lines = [f"Quality Compass: what {name} ({role}) should know", f"{_time(told.since)} to {_time(told.until)}", ""]
    if told.is_empty:
        return "\n".join([*lines, "Nothing happened that needs you.", ""])
    if told.overdue.count:
        lines += [_heading("Overdue", told.overdue.count, told.overdue.count_is_capped)]
        lines += [f"- {_overdue_line(late)}" for late in told.overdue.assignments]
        lines += [*_more(told.overdue.count, len(told.overdue.assignments)), ""]
    for field, title in _TITLES.items():
        section: Section | None = getattr(told, field)
        if section is not None and section.count:
            lines += [_heading(title, section.count, section.count_is_capped)]
            lines += [f"- {_one_line(event.summary)} ({_time(event.created_at)})" for event in section.events]
            lines += [*_more(section.count, len(section.events)), ""]
    if told.missing_sequences:
        lines += [f"The audit log lacks {told.missing_sequences:,} events.", ""]
    return "\n".join(lines)


def _heading(title: str, count: int, is_capped: bool) -> str:
    return f"{title}: {'more than ' if is_capped else ''}{count:,}"


def _more(count: int, shown: int) -> list[str]:
    return [f"  and {count - shown:,} more"] if count > shown else []


def _overdue_line(late: Overdue) -> str:
    signal = late.signal
    what = f"{signal.metric_id} at {signal.facility}" if signal else f"signal {late.signal_id}"
    who = "you" if late.is_mine else (late.assignee.name if late.assignee else None) or "nobody"
    days = "today" if late.days_overdue == 0 else f"{late.days_overdue} day{'s' * (late.days_overdue != 1)} ago"
    return f"{_one_line(what)}: was due {days} ({late.due_at:%Y-%m-%d}), with {_one_line(who)}"


def _one_line(text: str) -> str:
    """What people and producers wrote, without what would break the line."""
    return " ".join(text.split())


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
