"""Configuration of the workflow service."""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, Field

from shared.settings import ServiceSettings


class OutcomeSettings(BaseModel, frozen=True):
    """How the outcome of an intervention is measured: ``COMPASS_OUTCOME__BEFORE_DAYS``."""

    before_days: Annotated[int, Field(ge=1, le=730, description="Compared with, unless the intervention says.")] = 90
    after_days: Annotated[int, Field(ge=1, le=730, description="Looked at, unless the intervention says.")] = 90
    minimum_detections: Annotated[int, Field(ge=1, le=1000, description="On either side, for a verdict.")] = 1
    unchanged_within: Annotated[
        float, Field(ge=0, le=1, description="A change of at most this share of the mean before is none.")
    ] = 0.05
    check_seconds: Annotated[float, Field(gt=0, le=3600, description="Between two looks for windows that ended.")] = 5.0


class DueSettings(BaseModel, frozen=True):
    """When an assignment is due, and what is said about it: ``COMPASS_DUE__DAYS_BY_SEVERITY``."""

    days_by_severity: Annotated[
        dict[Annotated[int, Field(ge=0, le=100)], Annotated[float, Field(gt=0, le=3650)] | None],
        Field(
            min_length=1,
            description="Days from the assignment on, by the lowest severity that they hold for; null for no due date.",
        ),
    ] = {80: 7, 60: 14, 40: 30, 0: 60}
    remind_hours_before: Annotated[
        float, Field(ge=0, le=8760, description="Before the due date; 0 for no reminder before it.")
    ] = 48
    escalate_hours_after: Annotated[float, Field(ge=0, le=8760, description="After the due date.")] = 72
    check_seconds: Annotated[
        float, Field(gt=0, le=3600, description="Between two looks for what has become due or is to be woken.")
    ] = 5.0

    def due_at(self, assigned_at: datetime, severity: int) -> datetime | None:
        """When what is assigned at this moment is due; None for a severity below all bands, or without a due date."""
        bands = [floor for floor in self.days_by_severity if floor <= severity]
        days = self.days_by_severity[max(bands)] if bands else None
        return None if days is None else assigned_at + timedelta(days=days)


class WorkflowSettings(ServiceSettings):
    """What the workflow service is configured by."""

    workflow_port: Annotated[int, Field(ge=1, le=65535)] = 8102
    outcome: OutcomeSettings = OutcomeSettings()
    due: DueSettings = DueSettings()
