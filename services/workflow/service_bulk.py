"""Many signals assigned or moved by one request."""

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import service_decisions, service_desk
from services.workflow.schemas import BulkItem, BulkProblem, BulkRequest, BulkResult, BulkResults
from services.workflow.service_desk import Desk
from services.workflow.settings import DueSettings
from shared.auth import Permission, User
from shared.errors import FieldProblem, ForbiddenError, ProblemError
from shared.preconditions import parse_if_match


async def change(session: AsyncSession, user: User, request: BulkRequest, due: DueSettings) -> BulkResults:
    """Do each item in its order, under the rules of the single requests; one that fails leaves no trace.

    All signals are locked and loaded at once, all items decided in memory, and what came out is written at once.
    """
    desk = await service_desk.lock(
        session,
        user,
        {item.signal_id for item in request.items},
        {item.assign.assignee_id for item in request.items if item.assign},
    )
    results = [_result(desk, item, due) for item in request.items]
    await service_desk.settle(session, desk)
    succeeded = sum(result.problem is None for result in results)
    return BulkResults(results=results, succeeded=succeeded, failed=len(results) - succeeded)


def _result(desk: Desk, item: BulkItem, due: DueSettings) -> BulkResult:
    try:
        _decide(desk, item, due)
    except ProblemError as error:
        part = "assign" if item.assign else "move"
        errors = [
            FieldProblem(pointer=problem.pointer.replace("/body", f"/{part}", 1), detail=problem.detail)
            for problem in error.errors
        ]
        problem = BulkProblem(code=error.code, detail=error.detail, errors=errors)
        return BulkResult(signal_id=item.signal_id, status=error.status, problem=problem)
    # Now, since a later item may change the same signal again.
    return BulkResult(signal_id=item.signal_id, status=200, assignment=desk.view(item.signal_id))


def _decide(desk: Desk, item: BulkItem, due: DueSettings) -> None:
    if_match = None if item.if_match is None else parse_if_match(item.if_match)
    if item.assign is not None:
        service_decisions.assign(desk, item.signal_id, item.assign, if_match, due)
        return
    if item.move is None:
        raise AssertionError("an item has either assign or move")
    if not desk.user.may(Permission.MOVE_STATUS):
        raise ForbiddenError(f"The role {desk.user.role} does not have the permission {Permission.MOVE_STATUS}.")
    service_decisions.change_status(desk, item.signal_id, item.move, if_match)
