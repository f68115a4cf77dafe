"""What ownership rules would have done on the latest signals, had each of these come as a new one. Writes nothing."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository, repository_rules
from services.workflow.models import KnownSignal, OwnershipRule
from services.workflow.schemas import PersonView, SignalView
from services.workflow.schemas_rules import (
    DryRunOutcome,
    DryRunRequest,
    DryRunRule,
    DryRunSignal,
    DryRunView,
    RuleReference,
)
from services.workflow.service_assignees import check_assignable
from services.workflow.service_matching import RuleBook, first_match, matches
from services.workflow.service_rules import draft, placed, skipped
from shared.auth import User
from shared.errors import FieldProblem, InvalidError

LOOKED_AT: Final = 1000


async def dry_run(session: AsyncSession, user: User, request: DryRunRequest) -> DryRunView:
    """Try one rule among the present ones, or a whole set instead of them.

    Raises:
        InvalidError: the rule to replace is not there, or nobody of an id can be assigned in that role.
    """
    order, tried = await _order(session, user, request)
    book = RuleBook(order, await repository.users(session, {rule.assignee_id for rule in order}))
    for place, rule in enumerate(tried):
        pointer = f"/body/rules/{place}" if request.rules else "/body/rule"
        check_assignable(book.people.get(rule.assignee_id), rule.role_type, pointer)
    signals = await repository_rules.latest_signals(session, LOOKED_AT)
    trial = _Trial(book, tried, book.applied(), {rule.id for rule in tried})
    outcomes = [outcome for signal in signals if (outcome := _outcome(trial, signal)) is not None]
    return DryRunView(
        signals_looked_at=len(signals),
        matched=len(outcomes),
        assigned=sum(outcome.view.outcome is DryRunOutcome.ASSIGNED for outcome in outcomes),
        rules=_tallies(trial, signals, outcomes),
        signals=[outcome.view for outcome in outcomes],
    )


class _Trial(NamedTuple):
    book: RuleBook
    tried: list[OwnershipRule]
    applied: list[OwnershipRule]
    drafts: set[UUID]


class _Outcome(NamedTuple):
    view: DryRunSignal
    winner: OwnershipRule | None


async def _order(
    session: AsyncSession, user: User, request: DryRunRequest
) -> tuple[list[OwnershipRule], list[OwnershipRule]]:
    """All rules in the order in which they would be tried, and those of them that are new."""
    if request.rules is not None:
        order = [draft(rule, user) for rule in request.rules]
        tried = order
    elif request.rule is not None:
        present = await repository_rules.rules(session)
        replaced = next((rule for rule in present if rule.id == request.replaces), None)
        if request.replaces is not None and replaced is None:
            detail = "There is no ownership rule with this id."
            raise InvalidError(detail, errors=[FieldProblem(pointer="/body/replaces", detail=detail)])
        others = [rule for rule in present if rule is not replaced]
        tried = [draft(request.rule, user)]
        order = placed(others, tried[0], request.rule.position or (replaced.position if replaced else None))
    else:
        raise AssertionError("a dry run takes either rule or rules")
    return order, tried


def _outcome(trial: _Trial, signal: KnownSignal) -> _Outcome | None:
    """What would have become of a signal that one of the tried rules matches."""
    if not any(matches(rule, signal) for rule in trial.tried):
        return None
    winner = first_match(trial.applied, signal)
    if winner is None:
        outcome = DryRunOutcome.SKIPPED
    else:
        outcome = DryRunOutcome.ASSIGNED if winner.id in trial.drafts else DryRunOutcome.OTHER_RULE
    assignee = trial.book.people[winner.assignee_id] if winner else None
    view = DryRunSignal(
        signal_id=signal.signal_id,
        signal=SignalView.model_validate(signal),
        outcome=outcome,
        winner=_reference(trial, winner) if winner else None,
        assignee=PersonView(id=assignee.user_id, name=assignee.name) if assignee else None,
        role_type=winner.role_type if winner else None,
    )
    return _Outcome(view, winner)


def _tallies(trial: _Trial, signals: Sequence[KnownSignal], outcomes: list[_Outcome]) -> list[DryRunRule]:
    won = Counter(outcome.winner.id for outcome in outcomes if outcome.winner)
    winners = {outcome.view.signal_id: outcome.winner for outcome in outcomes}
    tallies = []
    for rule in trial.tried:
        matched = [signal.signal_id for signal in signals if matches(rule, signal)]
        tallies.append(
            DryRunRule(
                rule=_reference(trial, rule),
                matched=len(matched),
                assigned=won[rule.id],
                lost=sum((winner := winners[signal_id]) is not None and winner is not rule for signal_id in matched),
                skipped=skipped(rule, trial.book.people),
            )
        )
    return tallies


def _reference(trial: _Trial, rule: OwnershipRule) -> RuleReference:
    position = next(place for place, other in enumerate(trial.book.rules, start=1) if other is rule)
    return RuleReference(id=None if rule.id in trial.drafts else rule.id, name=rule.name, position=position)
