"""What the API of this service takes and answers."""

from datetime import datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from services.workflow import examples
from services.workflow.models import TransitionKind
from shared.errors import FieldProblem
from shared.events.vocabulary import AssignmentStatus, RoleType, UserRole
from shared.events.workflow import ResolutionReason
from shared.pagination import NextCursor
from shared.preconditions import parse_if_match
from shared.text import StorableText

_LONGEST_TEXT: Final = 10_000


FreeText = Annotated[StorableText, Field(max_length=_LONGEST_TEXT)]
WrittenText = Annotated[FreeText, Field(min_length=1, pattern=r"\S")]
"""A text with something in it."""


def _entity_tag(value: str) -> str:
    parse_if_match(value)
    return value


IfMatchText = Annotated[
    str,
    Field(max_length=1000, description="As the header: the `etag` that the change was decided on.", examples=['"3"']),
    AfterValidator(_entity_tag),
]


def example(value: examples.Example) -> ConfigDict:
    """What a model's answer looks like, for its description."""
    return ConfigDict(json_schema_extra={"examples": [value]})


class Request(BaseModel):
    """A request's body: a field that it does not have is an error, not ignored."""

    model_config = ConfigDict(extra="forbid")


class AssignRequest(Request):
    """Who shall work on a signal, and in which role."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "assignee_id": "3f2b8c1e-6a55-4b9a-9d0e-2f6f0a4c7b11",
                    "role_type": "nursing_leadership",
                    "notes": "Please look at the evening shift.",
                }
            ]
        }
    )

    assignee_id: Annotated[UUID, Field(description="One of `GET /api/assignees`.")]
    role_type: Annotated[RoleType, Field(description="The assignee's own role, or any for an admin.")]
    notes: Annotated[
        FreeText | None, Field(description="For the assignee. A reassignment without notes keeps those that stand.")
    ] = None


class StatusRequest(Request):
    """Where to move the status."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"status": "in_progress"},
                {
                    "status": "resolved",
                    "resolution_notes": "A second triage nurse from 16:00 to midnight.",
                    "resolution_reason": "improved",
                },
            ]
        }
    )

    status: Annotated[AssignmentStatus, Field(description="One of `allowed_next_statuses`.")]
    notes: Annotated[FreeText | None, Field(description="For the history.")] = None
    resolution_notes: Annotated[
        FreeText | None, Field(description="What was done. Needed for `resolved`, refused for anything else.")
    ] = None
    resolution_reason: Annotated[
        ResolutionReason | None, Field(description="Why it is resolved; only for `resolved`.")
    ] = None


class BulkItem(Request):
    """One signal, to be assigned or moved."""

    signal_id: UUID
    assign: Annotated[AssignRequest | None, Field(description="As for `POST .../assign`.")] = None
    move: Annotated[StatusRequest | None, Field(description="As for `PATCH .../status`.")] = None
    if_match: IfMatchText | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if (self.assign is None) == (self.move is None):
            raise ValueError("Each item has either assign or move.")
        return self


class BulkRequest(Request):
    """Signals to assign or move, done in this order, each wholly or not at all."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "signal_id": "a518ebf3-abe9-5412-9974-060591df9a17",
                            "assign": {
                                "assignee_id": "3f2b8c1e-6a55-4b9a-9d0e-2f6f0a4c7b11",
                                "role_type": "nursing_leadership",
                            },
                        },
                        {"signal_id": "436366d0-b6f9-564d-8140-b0b79e6bbe53", "move": {"status": "in_progress"}},
                    ]
                }
            ]
        }
    )

    items: Annotated[list[BulkItem], Field(min_length=1, max_length=500)]


class PersonView(BaseModel):
    """A user by id and present name."""

    id: UUID
    name: str


class SnoozeView(BaseModel):
    """A signal that is put aside."""

    until: Annotated[datetime | None, Field(description="Back then at the latest.")]
    until_worse: Annotated[bool, Field(description="Back with a newer detection that is worse.")]
    at: Annotated[datetime, Field(description="When it was put aside.")]
    by: PersonView | None


class ClosedSignal(BaseModel):
    """An earlier signal of the same entity that was closed."""

    signal_id: UUID
    closed_at: datetime


class BulkProblem(BaseModel):
    """Why one item failed."""

    code: str
    detail: str
    errors: Annotated[list[FieldProblem], Field(description="Pointers are into the item: `/move/resolution_notes`.")]


class AssignmentView(BaseModel):
    """The workflow of one signal, as the caller sees it. An untouched signal has the status `new` and no `id`."""

    model_config = example(examples.ASSIGNMENT)

    id: Annotated[UUID | None, Field(description="The assignment; null for a signal that nobody has touched.")]
    signal_id: UUID
    entity_id: Annotated[UUID, Field(description="What is watched; the same for all its detections.")]
    status: AssignmentStatus
    allowed_next_statuses: Annotated[
        list[AssignmentStatus],
        Field(
            description="Where the caller may move it. `assigned` from `new` is done by `POST .../assign`, all others "
            "by `PATCH .../status`."
        ),
    ]
    assignee_id: UUID | None
    assignee: PersonView | None
    assigner_id: UUID | None
    assigner: PersonView | None
    role_type: RoleType | None
    rule_id: Annotated[UUID | None, Field(description="The ownership rule that assigned it, if one did.")]
    rule_version: int | None
    notes: str | None
    resolution_notes: str | None
    resolution_reason: ResolutionReason | None
    resolved_by: Annotated[PersonView | None, Field(description="Who resolved it last; somebody else closes it.")]
    assigned_at: datetime | None
    started_at: datetime | None
    resolved_at: datetime | None
    closed_at: datetime | None
    due_at: Annotated[datetime | None, Field(description="Set once when it is assigned, by the signal's severity.")]
    is_overdue: Annotated[bool, Field(description="Assigned or in progress past its due date, and not put aside.")]
    snoozed_until: datetime | None
    snooze: Annotated[SnoozeView | None, Field(description="Until when it is put aside; null where it is not.")]
    created_at: datetime | None
    updated_at: datetime | None
    superseded_by: Annotated[
        UUID | None,
        Field(
            description="The entity's newest signal, where this is an older one. Work goes on there and writes here "
            "are refused; the other fields show the assignment that went on from here, wherever it is now."
        ),
    ]
    reopens: Annotated[
        ClosedSignal | None, Field(description="The entity's last signal that was closed before this one.")
    ]
    etag: Annotated[str, Field(description="The same as the `ETag` header, to be sent as `If-Match`.")]


class BulkResult(BaseModel):
    """What became of one item."""

    signal_id: UUID
    status: Annotated[int, Field(description="As the single request would have answered: 200, 403, 404, 409, ...")]
    assignment: Annotated[AssignmentView | None, Field(description="After the change; null where it failed.")] = None
    problem: Annotated[BulkProblem | None, Field(description="Why it failed.")] = None


class BulkResults(BaseModel):
    """One result per item, in the order of the request."""

    model_config = example(examples.BULK_RESULTS)

    results: list[BulkResult]
    succeeded: int
    failed: int


class SignalView(BaseModel):
    """What a list calls a signal."""

    model_config = ConfigDict(from_attributes=True)

    metric_id: str
    facility: str
    facility_id: str | None
    system_name: str | None
    service_line: str
    group_value: str | None
    description: str
    signal_type: str
    severity: int
    detected_at: datetime


class ListedAssignment(AssignmentView):
    """An assignment in a list, with its signal."""

    model_config = example(examples.LISTED_ASSIGNMENT)

    signal: SignalView


class AssignmentPage(BaseModel):
    """Assignments, the newest first."""

    model_config = example(examples.ASSIGNMENT_PAGE)

    assignments: list[ListedAssignment]
    limit: int
    cursor: NextCursor
    has_more: bool


class CommentRequest(Request):
    """What to say about a signal."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "The evening shift was short of two nurses."}]})

    text: WrittenText


class CommentView(BaseModel):
    """A comment."""

    model_config = example(examples.COMMENT)

    id: UUID
    signal_id: Annotated[UUID, Field(description="The detection that it was written on.")]
    author: Annotated[PersonView, Field(description="By the name of that time.")]
    text: str
    created_at: datetime


class CommentPage(BaseModel):
    """Comments along the chain of the entity's detections, the newest first."""

    model_config = example(examples.COMMENT_PAGE)

    comments: list[CommentView]
    limit: int
    cursor: NextCursor
    has_more: bool


class TransitionView(BaseModel):
    """One line of history."""

    kind: TransitionKind
    from_status: AssignmentStatus
    to_status: AssignmentStatus
    at: Annotated[datetime, Field(description="When.")]
    by: Annotated[PersonView | None, Field(description="Who, by the name of that time; null for the system.")]
    assignee: Annotated[PersonView | None, Field(description="Who had it after the change, by the name of that time.")]
    notes: str | None
    resolution_notes: str | None
    resolution_reason: ResolutionReason | None
    rule_id: Annotated[UUID | None, Field(description="The ownership rule that assigned it, if one did.")]
    rule_version: int | None
    assignment_id: UUID
    signal_id: Annotated[UUID, Field(description="The detection at which it happened.")]
    previous_signal_id: Annotated[
        UUID | None, Field(description="The older detection that it was carried over from, for `carried_over`.")
    ]


class HistoryView(BaseModel):
    """Every transition along the chain of the entity's detections, oldest first."""

    model_config = example(examples.HISTORY)

    signal_id: UUID
    history: list[TransitionView]


class AssigneeView(BaseModel):
    """Somebody who can be assigned."""

    id: UUID
    name: str
    role: UserRole


class AssigneesView(BaseModel):
    """Everyone who can be assigned, by name."""

    model_config = example(examples.ASSIGNEES)

    assignees: list[AssigneeView]


def response(description: str) -> dict[int | str, dict[str, Any]]:
    """How OpenAPI describes a good answer that carries the assignment and its ETag."""
    header = {"schema": {"type": "string"}, "description": "The version, for `If-Match`."}
    return {200: {"model": AssignmentView, "description": description, "headers": {"ETag": header}}}
