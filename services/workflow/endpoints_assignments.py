"""All assignments, and who can be assigned."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response

from services.workflow import repository, service_assignments, service_bulk, service_summary
from services.workflow.endpoints import JSON, Assigner, Due, Reader, read
from services.workflow.repository_assignments import Filters
from services.workflow.repository_summary import Window
from services.workflow.schemas import AssigneesView, AssigneeView, AssignmentPage, BulkRequest, BulkResults
from services.workflow.schemas_summary import SummaryView
from shared.db import DbReading, DbSession
from shared.events.vocabulary import AssignmentStatus, RoleType
from shared.idempotency import OnceOnly, once
from shared.moments import Moment
from shared.pagination import Cursor, Limit

router = APIRouter(prefix="/api", tags=["workflow"])

_WINDOW: Final = timedelta(days=90)
_FIRST_END: Final = datetime.min.replace(tzinfo=UTC) + _WINDOW

People = Annotated[list[UUID | Literal["me"]], Query(description="Any of these users; `me` is the caller.")]


@router.get("/assignments", response_model=AssignmentPage)
async def list_assignments(
    user: Reader,
    session: DbReading,
    assignee_id: People = [],  # noqa: B006 - never changed
    assigner_id: People = [],  # noqa: B006
    status: Annotated[list[AssignmentStatus], Query(description="Any of these.")] = [],  # noqa: B006
    role_type: Annotated[list[RoleType], Query(description="Any of these.")] = [],  # noqa: B006
    overdue: Annotated[
        bool | None, Query(description="Assigned or in progress past the due date and not put aside; or all others.")
    ] = None,
    snoozed: Annotated[bool | None, Query(description="Put aside; or all others.")] = None,
    limit: Limit = 25,
    cursor: Cursor = None,
) -> Response:
    """Assignments, the newest first. Signals that nobody has touched have none; filter signals by `unassigned`."""
    filters = Filters(
        assignee_ids=[user.id if person == "me" else person for person in assignee_id],
        assigner_ids=[user.id if person == "me" else person for person in assigner_id],
        statuses=status,
        role_types=role_type,
        overdue=overdue,
        snoozed=snoozed,
    )
    return Response(await service_assignments.page(session, user, filters, cursor, limit), media_type=JSON)


@router.get("/assignments/summary", response_model=SummaryView)
async def summarize(
    user: Reader,
    session: DbReading,
    since: Annotated[Moment | None, Query(alias="from", description="90 days before its end if not given.")] = None,
    to: Annotated[Moment | None, Query(description="The end of the window, not itself; now if not given.")] = None,
    role_type: Annotated[list[RoleType], Query(description="Any of these.")] = [],  # noqa: B006
    assignee_id: People = [],  # noqa: B006
) -> Response:
    """The workload by person, role and status: what is open and overdue now, and how long things take.

    The medians are exact, over what was assigned and what was resolved within the window; the counts of open and
    overdue assignments are those of this moment. A signal that nobody has touched has no assignment and is not counted.
    """
    now = datetime.now(UTC)
    until = to or now
    window = Window(
        since=since or max(until, _FIRST_END) - _WINDOW,
        until=until,
        assignee_ids=[user.id if person == "me" else person for person in assignee_id],
        role_types=role_type,
    )
    return read(await service_summary.summary(session, window))


@router.post("/assignments/bulk", responses={200: {"model": BulkResults, "description": "One result per item."}})
async def change_many(
    user: Assigner, request: BulkRequest, attempt: OnceOnly, due: Due, session: DbSession
) -> Response:
    """Assign or move up to 500 signals, in this order, each wholly or not at all; one result per item."""
    return await once(session, user, attempt, lambda: service_bulk.change(session, user, request, due))


@router.get("/assignees", response_model=AssigneesView)
async def list_assignees(_: Assigner, session: DbReading) -> Response:
    """Everyone who can be assigned: active and no viewer, by name."""
    users = await repository.assignees(session)
    return read(AssigneesView(assignees=[AssigneeView(**user) for user in users]))
