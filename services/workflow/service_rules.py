"""Ownership rules: shown, and changed one request at a time.

A rule's version counts whatever of it changes, its position too, which another rule's move may change. Each version is
kept with who made it and when, and told as `rule.changed`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository, repository_rules
from services.workflow.models import KnownUser, OwnershipRule, OwnershipRuleVersion
from services.workflow.schemas import PersonView
from services.workflow.schemas_rules import (
    Conditions,
    RuleRequest,
    RulesView,
    RuleVersionPage,
    RuleVersionView,
    RuleView,
    SkippedView,
)
from services.workflow.service_assignees import check_assignable, refusal
from services.workflow.service_events import UNKNOWN_NAME
from services.workflow.service_events_rules import rule_changed
from shared import outbox
from shared.auth import User
from shared.errors import ConflictError, NotFoundError
from shared.pagination import cut, decode_cursor
from shared.preconditions import Precondition

MOST_RULES: Final = 500
"""More could not be looked over by anybody, and all of them are tried on every new signal."""

_Version = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


async def listed(session: AsyncSession) -> RulesView:
    """All rules, in the order in which they are tried."""
    rules = await repository_rules.rules(session)
    people = await repository.users(session, {rule.assignee_id for rule in rules})
    return RulesView(rules=[_view(rule, people) for rule in rules])


async def show(session: AsyncSession, rule_id: UUID) -> RuleView:
    """One rule.

    Raises:
        NotFoundError: there is none of this id, or it was deleted.
    """
    rule = await repository_rules.find(session, rule_id)
    if rule is None:
        raise _not_found()
    return _view(rule, await repository.users(session, [rule.assignee_id]))


async def versions(session: AsyncSession, rule_id: UUID, cursor: str | None, limit: int) -> RuleVersionPage:
    """The changes of a rule, the newest first; those of a deleted one too.

    Raises:
        NotFoundError: there never was such a rule.
        InvalidError: ``bad_cursor``.
    """
    before = decode_cursor(cursor, tuple[_Version])[0] if cursor else None
    if not await repository_rules.exists(session, rule_id):
        raise _not_found()
    found = await repository_rules.versions(session, rule_id, before, limit + 1)
    rows, following = cut(found, limit, lambda row: (row.version,))
    return RuleVersionPage(
        versions=[
            RuleVersionView.model_validate(
                {
                    "version": row.version,
                    "rule": row.rule,
                    "changed_by": {"id": row.changed_by, "name": row.changed_by_name},
                    "changed_at": row.changed_at,
                }
            )
            for row in rows
        ],
        limit=limit,
        cursor=following,
        has_more=following is not None,
    )


async def create(session: AsyncSession, user: User, request: RuleRequest) -> RuleView:
    """Add a rule at its position, or at the end.

    Raises:
        ConflictError: ``too_many_rules``.
        InvalidError: nobody of that id can be assigned in that role.
    """
    present = list(await repository_rules.lock_rules(session))
    if len(present) >= MOST_RULES:
        raise ConflictError(f"There are {MOST_RULES} rules already.", "too_many_rules")
    people = await _people(session, present, request)
    rule = draft(request, user)

    def add() -> list[OwnershipRule]:
        return placed(present, rule, request.position)

    await _change(session, user, present, add, people)
    return _view(rule, people)


async def replace(
    session: AsyncSession, user: User, rule_id: UUID, request: RuleRequest, if_match: Precondition | None
) -> RuleView:
    """Make a rule what the request says. Nothing differs: no new version, no event.

    Raises:
        NotFoundError: there is none of this id.
        PreconditionFailedError: the version is another one.
        InvalidError: nobody of that id can be assigned in that role.
    """
    present = await repository_rules.lock_rules(session)
    rule = _required(present, rule_id, if_match)
    people = await _people(session, present, request)

    def change() -> list[OwnershipRule]:
        apply(rule, request)
        others = [other for other in present if other is not rule]
        return placed(others, rule, request.position or rule.position)

    await _change(session, user, present, change, people)
    return _view(rule, people)


async def delete(session: AsyncSession, user: User, rule_id: UUID, if_match: Precondition | None) -> None:
    """Delete a rule; what it has assigned stays assigned.

    Raises:
        NotFoundError: there is none of this id.
        PreconditionFailedError: the version is another one.
    """
    present = await repository_rules.lock_rules(session)
    rule = _required(present, rule_id, if_match)
    people = await _people(session, present)

    def remove() -> list[OwnershipRule]:
        rule.deleted_at = datetime.now(UTC)
        return [other for other in present if other is not rule]

    await _change(session, user, present, remove, people)


def draft(request: RuleRequest, user: User) -> OwnershipRule:
    """A rule that is not stored yet."""
    now = datetime.now(UTC)
    rule = OwnershipRule(
        id=uuid4(), position=0, version=0, created_by=user.id, updated_by=user.id, created_at=now, updated_at=now
    )
    apply(rule, request)
    return rule


def apply(rule: OwnershipRule, request: RuleRequest) -> None:
    """Make a rule what the request says, but for its position."""
    wanted = request.conditions
    rule.name, rule.enabled = request.name, request.enabled
    rule.domains, rule.signal_types = _values(wanted.domain), _values(wanted.signal_type)
    rule.facilities, rule.system_names = _values(wanted.facility), _values(wanted.system_name)
    rule.service_lines, rule.metric_ids = _values(wanted.service_line), _values(wanted.metric_id)
    rule.minimum_severity = wanted.minimum_severity
    rule.assignee_id, rule.role_type = request.assignee_id, request.role_type


def placed(others: Sequence[OwnershipRule], rule: OwnershipRule, position: int | None) -> list[OwnershipRule]:
    """The rules in their new order; a position beyond the end, or none, is the end."""
    place = len(others) if position is None else min(position - 1, len(others))
    return [*others[:place], rule, *others[place:]]


def skipped(rule: OwnershipRule, people: Mapping[UUID, KnownUser]) -> SkippedView | None:
    """Why a rule is passed over for the sake of its assignee, if it is."""
    refused = refusal(people.get(rule.assignee_id), rule.role_type)
    return SkippedView(code=refused.code, detail=refused.detail) if refused else None


def _values(given: Sequence[str]) -> list[str]:
    """Each value once, in an order that does not depend on the request's."""
    return sorted({str(value) for value in given})


def _required(rules: Sequence[OwnershipRule], rule_id: UUID, if_match: Precondition | None) -> OwnershipRule:
    rule = next((rule for rule in rules if rule.id == rule_id), None)
    if rule is None:
        raise _not_found()
    if if_match is not None:
        if_match.require(_etag(rule))
    return rule


async def _people(
    session: AsyncSession, rules: Sequence[OwnershipRule], request: RuleRequest | None = None
) -> Mapping[UUID, KnownUser]:
    """The assignees of the rules, and of the request, who has to be somebody who can be assigned."""
    wanted = {rule.assignee_id for rule in rules} | ({request.assignee_id} if request else set())
    people = await repository.users(session, wanted)
    if request is not None:
        check_assignable(people.get(request.assignee_id), request.role_type)
    return people


async def _change(
    session: AsyncSession,
    user: User,
    present: Sequence[OwnershipRule],
    act: Callable[[], list[OwnershipRule]],
    people: Mapping[UUID, KnownUser],
) -> None:
    """Act, number what is left from 1 on, and store and tell each rule that differs from before."""
    before = {rule.id: _facts(rule) for rule in present}
    order = act()
    for position, rule in enumerate(order, start=1):
        rule.position = position
    now = datetime.now(UTC)
    names = {person.user_id: person.name for person in people.values()}
    changed, kept, events = [], [], []
    for rule in [*order, *(rule for rule in present if rule.deleted_at is not None)]:
        facts, old = _facts(rule), before.get(rule.id, {})
        differing = [name for name, value in facts.items() if old.get(name) != value] if old else []
        if old and not differing:
            continue
        rule.version += 1
        rule.updated_by, rule.updated_at = user.id, now
        changed.append(rule)
        kept.append(
            OwnershipRuleVersion(
                rule_id=rule.id,
                version=rule.version,
                rule=facts,
                changed_by=user.id,
                changed_by_name=user.name,
                changed_at=now,
            )
        )
        events.append(rule_changed(rule, names, differing, user))
    await repository_rules.store(session, *changed, *kept)
    await outbox.publish(session, *events)


def _facts(rule: OwnershipRule) -> dict[str, Any]:
    """What a version keeps of a rule, by the names of the API."""
    return {
        "name": rule.name,
        "position": rule.position,
        "enabled": rule.enabled,
        "deleted": rule.deleted_at is not None,
        "conditions": _conditions(rule).model_dump(mode="json"),
        "assignee_id": str(rule.assignee_id),
        "role_type": str(rule.role_type),
    }


def _conditions(rule: OwnershipRule) -> Conditions:
    return Conditions.model_validate(
        {
            "domain": rule.domains,
            "facility": rule.facilities,
            "system_name": rule.system_names,
            "service_line": rule.service_lines,
            "metric_id": rule.metric_ids,
            "signal_type": rule.signal_types,
            "minimum_severity": rule.minimum_severity,
        }
    )


def _view(rule: OwnershipRule, people: Mapping[UUID, KnownUser]) -> RuleView:
    assignee = people.get(rule.assignee_id)
    return RuleView(
        id=rule.id,
        name=rule.name,
        position=rule.position,
        enabled=rule.enabled,
        conditions=_conditions(rule),
        assignee_id=rule.assignee_id,
        assignee=PersonView(id=rule.assignee_id, name=assignee.name if assignee else UNKNOWN_NAME),
        role_type=rule.role_type,
        skipped=skipped(rule, people),
        version=rule.version,
        created_at=rule.created_at,
        updated_at=rule.updated_at,
        etag=_etag(rule),
    )


def _etag(rule: OwnershipRule) -> str:
    return f'"{rule.version}"'


def _not_found() -> NotFoundError:
    return NotFoundError("There is no ownership rule with this id.")
