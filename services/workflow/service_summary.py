"""The workload view: by person, role and status."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from services.workflow import repository_summary
from services.workflow.repository_summary import Share, Standing, Window, Workload
from services.workflow.schemas import PersonView
from services.workflow.schemas_summary import Load, PersonLoad, RoleLoad, StatusLoad, SummaryView
from services.workflow.service_events import UNKNOWN_NAME
from shared.db import AnySession
from shared.errors import FieldProblem, InvalidError
from shared.events.vocabulary import AssignmentStatus

_EVERYTHING = Share(None, None)
_OPEN = [status for status in AssignmentStatus if status is not AssignmentStatus.CLOSED]
_DAY = timedelta(days=1)


async def summary(session: AnySession, window: Window) -> SummaryView:
    """The workload at this moment, with the pace of the window.

    Raises:
        InvalidError: the window ends before it begins.
    """
    if window.since >= window.until:
        detail = "The window must end after it begins."
        raise InvalidError(detail, "bad_window", errors=[FieldProblem(pointer="/query/from", detail=detail)])
    workload = await repository_summary.workload(session, window)
    loads = _loads(workload)
    by_person = [
        PersonLoad(
            person=PersonView(id=share.assignee_id, name=workload.names.get(share.assignee_id, UNKNOWN_NAME)), **load
        )
        for share, load in loads.items()
        if share.assignee_id
    ]
    by_role = [RoleLoad(role_type=share.role_type, **load) for share, load in loads.items() if share.role_type]
    return SummaryView(
        from_=window.since,
        to=window.until,
        total=Load(**loads[_EVERYTHING]),
        people=sorted(by_person, key=lambda load: (-load.open, load.person.name, load.person.id)),
        roles=sorted(by_role, key=lambda load: load.role_type),
        statuses=_by_status(workload.standings),
    )


def _loads(workload: Workload) -> dict[Share, dict[str, Any]]:
    """The figures of each person and role that has any, and of everything."""
    loads: dict[Share, dict[str, Any]] = {_EVERYTHING: _empty()}
    for standing in workload.standings:
        shares = {_EVERYTHING, Share(standing.assignee_id, None), Share(None, standing.role_type)}
        for share in shares:
            load = loads.setdefault(share, _empty())
            load["by_status"][standing.status] += standing.open
            load["open"] += standing.open
            load["overdue"] += standing.overdue
            load["snoozed"] += standing.snoozed
    for paces, count, median in (
        (workload.assigned, "assigned", "median_days_to_assign"),
        (workload.resolved, "resolved", "median_days_to_resolve"),
    ):
        for pace in paces:
            load = loads.setdefault(pace.share, _empty())
            load[count] = pace.number
            load[median] = None if pace.median is None else round(pace.median / _DAY, 4)
    return loads


def _empty() -> dict[str, Any]:
    return {
        "open": 0,
        "overdue": 0,
        "snoozed": 0,
        "by_status": dict.fromkeys(_OPEN, 0),
        "assigned": 0,
        "resolved": 0,
        "median_days_to_assign": None,
        "median_days_to_resolve": None,
    }


def _by_status(standings: Sequence[Standing]) -> list[StatusLoad]:
    found = {status: [standing for standing in standings if standing.status is status] for status in _OPEN}
    return [
        StatusLoad(
            status=status,
            open=sum(standing.open for standing in some),
            overdue=sum(standing.overdue for standing in some),
            snoozed=sum(standing.snoozed for standing in some),
        )
        for status, some in found.items()
    ]
