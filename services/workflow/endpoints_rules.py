"""Ownership rules: which new signals go to whom by themselves."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Path, Response

from services.workflow import service_dry_run, service_rules
from services.workflow.schemas_rules import (
    DryRunRequest,
    DryRunView,
    RuleRequest,
    RulesView,
    RuleVersionPage,
    RuleView,
)
from shared.auth import Permission, User, require
from shared.db import DbSession
from shared.errors import conflicts
from shared.idempotency import OnceOnly, once
from shared.pagination import Cursor, Limit
from shared.preconditions import IfMatch

router = APIRouter(prefix="/api/ownership-rules", tags=["workflow"])

RuleId = Annotated[UUID, Path(description="The rule.")]
RuleManager = Annotated[User, require(Permission.MANAGE_RULES)]

_ETAG: Final[dict[str, Any]] = {"ETag": {"schema": {"type": "string"}, "description": "The version, for `If-Match`."}}


@router.get("")
async def list_rules(_: RuleManager, session: DbSession) -> RulesView:
    """All ownership rules, in the order in which they are tried on a new signal; there are 500 at most."""
    return await service_rules.listed(session)


@router.post(
    "",
    status_code=201,
    responses={201: {"model": RuleView, "description": "Made.", "headers": _ETAG}, **conflicts("too_many_rules")},
)
async def create_rule(user: RuleManager, request: RuleRequest, attempt: OnceOnly, session: DbSession) -> Response:
    """Add a rule at a position or at the end. It is tried on signals that come from now on.

    A signal that is new, because its entity was never seen before, has not been touched, or was closed, goes to the
    assignee of the first rule that matches. What somebody has unassigned stays unassigned.
    """
    return await once(session, user, attempt, lambda: service_rules.create(session, user, request), 201)


@router.post("/dry-run")
async def dry_run(user: RuleManager, request: DryRunRequest, session: DbSession) -> DryRunView:
    """What a rule, or a whole set of rules, would have done on the latest 1,000 signals. Changes nothing."""
    return await service_dry_run.dry_run(session, user, request)


@router.get("/{rule_id}", responses={200: {"model": RuleView, "headers": _ETAG}})
async def get_rule(rule_id: RuleId, _: RuleManager, session: DbSession, response: Response) -> RuleView:
    """One rule."""
    view = await service_rules.show(session, rule_id)
    response.headers["etag"] = view.etag
    return view


@router.put("/{rule_id}", responses={200: {"model": RuleView, "description": "Changed.", "headers": _ETAG}})
async def replace_rule(
    rule_id: RuleId,
    user: RuleManager,
    request: RuleRequest,
    if_match: IfMatch,
    attempt: OnceOnly,
    session: DbSession,
) -> Response:
    """Make a rule what the body says, or move it. What it has assigned before stays as it is."""
    return await once(session, user, attempt, lambda: service_rules.replace(session, user, rule_id, request, if_match))


@router.delete("/{rule_id}", status_code=204, response_class=Response)
async def delete_rule(
    rule_id: RuleId, user: RuleManager, if_match: IfMatch, attempt: OnceOnly, session: DbSession
) -> Response:
    """Delete a rule. What it has assigned stays as it is, and its versions can still be read."""
    return await once(session, user, attempt, lambda: service_rules.delete(session, user, rule_id, if_match))


@router.get("/{rule_id}/versions")
async def list_versions(
    rule_id: RuleId, _: RuleManager, session: DbSession, limit: Limit = 25, cursor: Cursor = None
) -> RuleVersionPage:
    """Every change of a rule, the newest first: what it was from then on, who made it so, and when."""
    return await service_rules.versions(session, rule_id, cursor, limit)
