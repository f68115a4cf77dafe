"""Many signals assigned or moved by one request."""

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository, service
from services.workflow.schemas import AssignmentView, BulkItem, BulkProblem, BulkRequest, BulkResult, BulkResults
from shared.auth import Permission, User
from shared.errors import FieldProblem, ForbiddenError, ProblemError
from shared.preconditions import parse_if_match


async def change(session: AsyncSession, user: User, request: BulkRequest) -> BulkResults:
    """Do each item by itself, under the same rules as the single requests; one that fails leaves no trace."""
    await repository.lock_signals(session, {item.signal_id for item in request.items})
    results = [await _result(session, user, item) for item in request.items]
    succeeded = sum(result.problem is None for result in results)
    return BulkResults(results=results, succeeded=succeeded, failed=len(results) - succeeded)


async def _result(session: AsyncSession, user: User, item: BulkItem) -> BulkResult:
    try:
        async with session.begin_nested():
            assignment = await _change(session, user, item)
    except ProblemError as error:
        part = "assign" if item.assign else "move"
        errors = [
            FieldProblem(pointer=problem.pointer.replace("/body", f"/{part}", 1), detail=problem.detail)
            for problem in error.errors
        ]
        problem = BulkProblem(code=error.code, detail=error.detail, errors=errors)
        return BulkResult(signal_id=item.signal_id, status=error.status, problem=problem)
    return BulkResult(signal_id=item.signal_id, status=200, assignment=assignment)


async def _change(session: AsyncSession, user: User, item: BulkItem) -> AssignmentView:
    if_match = None if item.if_match is None else parse_if_match(item.if_match)
    if item.assign is not None:
        return await service.assign(session, user, item.signal_id, item.assign, if_match)
    if item.move is None:
        raise AssertionError("an item has either assign or move")
    if not user.may(Permission.MOVE_STATUS):
        raise ForbiddenError(f"The role {user.role} does not have the permission {Permission.MOVE_STATUS}.")
    return await service.change_status(session, user, item.signal_id, item.move, if_match)
