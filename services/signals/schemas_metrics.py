"""What the API of the metric registry takes and answers."""

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from services.signals.schemas import Request
from shared.events.vocabulary import MetricPolarity, SignalDomain
from shared.text import StorableText


class TargetRange(Request):
    """Where the metric should lie; both ends belong to it."""

    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)


class MetricEdit(Request):
    """A metric of the registry, whole."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "display_name": "Length of stay",
                    "domain": "Efficiency",
                    "unit": "days",
                    "polarity": "lower_is_better",
                    "target_range": None,
                }
            ]
        }
    )

    display_name: Annotated[StorableText, Field(min_length=1, max_length=255, pattern=r"\S")]
    domain: Annotated[SignalDomain | None, Field(strict=False)] = None
    unit: Annotated[StorableText, Field(max_length=50)] | None = None
    polarity: Annotated[MetricPolarity, Field(strict=False)]
    target_range: TargetRange | None = Field(None, description="Only for the polarity `target_range`.")


class MetricView(BaseModel):
    """A metric of the registry."""

    metric_id: str
    display_name: str
    domain: SignalDomain | None
    unit: str | None
    polarity: MetricPolarity
    target_range: TargetRange | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


class RecomputationState(StrEnum):
    """Where the work stands."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class RecomputationView(BaseModel):
    """How far a metric's stored signals have followed the last change of its polarity or target range."""

    metric_id: str
    state: RecomputationState
    total: int = Field(description="Stored signals of the metric, history included.")
    examined: int = Field(description="Those that were looked at.")
    changed: int = Field(description="Those that came out otherwise; each has a `signal.corrected` event.")
    requested_at: AwareDatetime
    finished_at: AwareDatetime | None


class MetricList(BaseModel):
    """The whole registry, in the order of the ids."""

    metrics: list[MetricView]


MetricId = Annotated[StorableText, Field(min_length=1, max_length=100)]
