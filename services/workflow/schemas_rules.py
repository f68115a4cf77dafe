"""What the API of ownership rules takes and answers."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.workflow import examples
from services.workflow.schemas import PersonView, Request, SignalView, example
from shared.events.vocabulary import RoleType, SignalDomain, SignalType
from shared.pagination import NextCursor
from shared.text import StorableText

_MOST_VALUES: Final = 100

Name = Annotated[StorableText, Field(min_length=1, max_length=255, pattern=r"\S")]
Values = Annotated[list[Annotated[StorableText, Field(min_length=1, max_length=255)]], Field(max_length=_MOST_VALUES)]


class Conditions(Request):
    """What a signal must be. Any value of a list will do; an empty list asks for nothing; all must hold."""

    domain: Annotated[list[SignalDomain], Field(max_length=_MOST_VALUES, default_factory=list)]
    facility: Annotated[Values, Field(default_factory=list, description="Names or ids of facilities.")]
    system_name: Annotated[Values, Field(default_factory=list)]
    service_line: Annotated[Values, Field(default_factory=list)]
    metric_id: Annotated[Values, Field(default_factory=list)]
    signal_type: Annotated[list[SignalType], Field(max_length=_MOST_VALUES, default_factory=list)]
    minimum_severity: Annotated[int | None, Field(ge=0, le=100, strict=True, description="From here on.")] = None


class RuleRequest(Request):
    """A rule as it shall be."""

    model_config = example(examples.RULE_REQUEST)

    name: Annotated[Name, Field(description="What people call it; shown where it has assigned something.")]
    enabled: Annotated[bool, Field(strict=True, description="Whether it is applied.")] = True
    position: Annotated[
        int | None,
        Field(
            ge=1,
            le=1_000_000,
            strict=True,
            description="Where it stands; the rules from there on move down by one. Beyond the end is the end. Without "
            "one a new rule goes to the end, and a changed one stays.",
        ),
    ] = None
    conditions: Annotated[Conditions, Field(default_factory=lambda: Conditions.model_validate({}))]
    assignee_id: Annotated[UUID, Field(description="One of `GET /api/assignees`.")]
    role_type: Annotated[RoleType, Field(description="The assignee's own role, or any for an admin.")]


class SkippedView(BaseModel):
    """Why a rule is passed over, though it is enabled."""

    code: Annotated[str, Field(description="As an assignment to this person would be refused.")]
    detail: str


class RuleView(BaseModel):
    """An ownership rule."""

    model_config = example(examples.RULE)

    id: UUID
    name: str
    position: Annotated[int, Field(description="1 is tried first; no two rules have the same.")]
    enabled: bool
    conditions: Conditions
    assignee_id: UUID
    assignee: PersonView
    role_type: RoleType
    skipped: Annotated[
        SkippedView | None,
        Field(description="Set while the assignee cannot be assigned in this role: the next rule that matches wins."),
    ]
    version: Annotated[int, Field(description="Counts all changes, also of the position by another rule's move.")]
    created_at: datetime
    updated_at: datetime
    etag: Annotated[str, Field(description="The same as the `ETag` header, to be sent as `If-Match`.")]


class RulesView(BaseModel):
    """All rules, in the order in which they are tried."""

    model_config = example(examples.RULES)

    rules: list[RuleView]


class RuleState(BaseModel):
    """A rule in one of its versions."""

    name: str
    position: int
    enabled: bool
    deleted: bool
    conditions: Conditions
    assignee_id: UUID
    role_type: RoleType


class RuleVersionView(BaseModel):
    """One change of a rule."""

    version: int
    rule: Annotated[RuleState, Field(description="As it was from then on.")]
    changed_by: Annotated[PersonView, Field(description="By the name of that time.")]
    changed_at: datetime


class RuleVersionPage(BaseModel):
    """The changes of a rule, the newest first."""

    model_config = example(examples.RULE_VERSIONS)

    versions: list[RuleVersionView]
    limit: int
    cursor: NextCursor
    has_more: bool


class DryRunRequest(Request):
    """Either one rule, tried among those that there are, or a whole set instead of them."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"rule": examples.RULE_REQUEST}, {"rules": [examples.RULE_REQUEST]}]}
    )

    rule: Annotated[RuleRequest | None, Field(description="Tried at its position among the present rules.")] = None
    replaces: Annotated[UUID | None, Field(description="The present rule that `rule` would take the place of.")] = None
    rules: Annotated[
        list[RuleRequest] | None,
        Field(min_length=1, max_length=500, description="In this order; their positions are not looked at."),
    ] = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.rule is None) == (self.rules is None):
            raise ValueError("A dry run takes either rule or rules.")
        if self.replaces is not None and self.rule is None:
            raise ValueError("Only rule can replace one.")
        return self


class DryRunOutcome(StrEnum):
    """What would have become of a signal."""

    ASSIGNED = "assigned"
    """By a rule that is tried."""
    OTHER_RULE = "other_rule"
    """A rule that is tried matches, but a present one wins."""
    SKIPPED = "skipped"
    """What matches is disabled or passed over: nothing would have happened."""


class RuleReference(BaseModel):
    """A rule in a dry run."""

    id: Annotated[UUID | None, Field(description="Null for a draft.")]
    name: str
    position: int


class DryRunSignal(BaseModel):
    """A signal that a tried rule matches."""

    signal_id: UUID
    signal: SignalView
    outcome: DryRunOutcome
    winner: Annotated[RuleReference | None, Field(description="The rule that would have assigned it.")]
    assignee: PersonView | None
    role_type: RoleType | None


class DryRunRule(BaseModel):
    """What one of the tried rules would have done."""

    rule: RuleReference
    matched: int
    assigned: int
    lost: Annotated[int, Field(description="Matched, and assigned by another rule.")]
    skipped: Annotated[SkippedView | None, Field(description="Why it is passed over, if it is.")]


class DryRunView(BaseModel):
    """What the tried rules would have done on the latest signals. Nothing was changed."""

    model_config = example(examples.DRY_RUN)

    signals_looked_at: Annotated[int, Field(description="The latest by `detected_at`, at most 1,000; no history.")]
    matched: Annotated[int, Field(description="By at least one of the tried rules.")]
    assigned: Annotated[int, Field(description="By one of the tried rules.")]
    rules: Annotated[list[DryRunRule], Field(description="The tried rules, in their order.")]
    signals: Annotated[list[DryRunSignal], Field(description="Those matched, the latest first.")]
