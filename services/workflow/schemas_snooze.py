"""What the API of snoozing takes."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from services.workflow.schemas import FreeText, Request
from shared.moments import Moment


class SnoozeRequest(Request):
    """Until when a signal is put aside: a date, until it worsens, or whichever comes first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"until": "2026-09-01T08:00:00+02:00", "notes": "The new triage room opens in September."},
                {"until_worse": True},
            ]
        }
    )

    until: Annotated[Moment | None, Field(description="Ahead, and at most 366 days.")] = None
    until_worse: Annotated[
        bool,
        Field(
            strict=True,
            description="Back with a newer detection that is a regression, or at least 5 more severe than now.",
        ),
    ] = False
    notes: Annotated[FreeText | None, Field(description="Why; shown in the feed.")] = None

    @model_validator(mode="after")
    def _some_end(self) -> Self:
        if self.until is None and not self.until_worse:
            raise ValueError("A snooze needs until, until_worse, or both.")
        return self
