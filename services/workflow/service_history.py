"""What happened along the chain of an entity's detections."""

from uuid import UUID

from services.workflow import repository
from services.workflow.repository import Record
from services.workflow.schemas import HistoryView, PersonView, TransitionView
from services.workflow.service_desk import not_known_yet
from services.workflow.service_events import UNKNOWN_NAME
from shared.db import AnySession


async def history(session: AnySession, signal_id: UUID) -> HistoryView:
    """Every transition, oldest first; the same for every detection of the entity.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
    """
    lines = await repository.history(session, signal_id)
    if lines is None:
        raise not_known_yet()
    return HistoryView(signal_id=signal_id, history=[_line(line) for line in lines])


def _line(line: Record) -> TransitionView:
    return TransitionView(
        kind=line["kind"],
        from_status=line["from_status"],
        to_status=line["to_status"],
        at=line["created_at"],
        by=_person(line["actor_id"], line["actor_name"]),
        assignee=_person(line["assignee_id"], line["assignee_name"]),
        notes=line["notes"],
        resolution_notes=line["resolution_notes"],
        resolution_reason=line["resolution_reason"],
        rule_id=line["rule_id"],
        rule_version=line["rule_version"],
        assignment_id=line["assignment_id"],
        signal_id=line["signal_id"],
        previous_signal_id=line["previous_signal_id"],
    )


def _person(user_id: UUID | None, name: str | None) -> PersonView | None:
    return None if user_id is None else PersonView(id=user_id, name=name or UNKNOWN_NAME)
