"""What the API answers about the workload."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from services.workflow import examples
from services.workflow.schemas import PersonView
from shared.events.vocabulary import AssignmentStatus, RoleType

_Days = Annotated[float | None, Field(description="Null where nothing within the window tells.")]


class Load(BaseModel):
    """What is open now, and how fast it went within the window."""

    open: Annotated[int, Field(description="Not closed, at this moment.")]
    overdue: Annotated[int, Field(description="Of these, past their due date and not put aside.")]
    snoozed: Annotated[int, Field(description="Of these, put aside.")]
    by_status: Annotated[dict[AssignmentStatus, int], Field(description="The open ones, by status.")]
    assigned: Annotated[int, Field(description="Assigned within the window, and not taken back since.")]
    resolved: Annotated[int, Field(description="Resolved within the window, and not gone back since.")]
    median_days_to_assign: Annotated[_Days, Field(description="From when the signal came to its assignment.")]
    median_days_to_resolve: Annotated[_Days, Field(description="From the assignment to the resolution.")]


class PersonLoad(Load):
    """The workload of one assignee."""

    person: PersonView


class RoleLoad(Load):
    """The workload of all who were assigned in one role."""

    role_type: RoleType


class StatusLoad(BaseModel):
    """What stands at one status now."""

    status: AssignmentStatus
    open: int
    overdue: int
    snoozed: int


class SummaryView(BaseModel):
    """The workload: what is open now whatever the window, and the medians of what happened within it."""

    model_config = ConfigDict(populate_by_name=True, json_schema_extra={"examples": [examples.SUMMARY]})

    from_: Annotated[datetime, Field(alias="from", description="Where the window begins.")]
    to: Annotated[datetime, Field(description="Where it ends; not itself.")]
    total: Load
    people: Annotated[list[PersonLoad], Field(description="Whoever has something open or did within the window.")]
    roles: list[RoleLoad]
    statuses: list[StatusLoad]
