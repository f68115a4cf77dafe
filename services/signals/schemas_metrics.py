"""What the API of the metric registry takes and answers."""

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from services.signals import examples_operations
from services.signals.schemas import Request, example
from shared.events.vocabulary import MetricPolarity, SignalDomain
from shared.text import StorableText


class TargetRange(Request):
    """Where the metric should lie; both ends belong to it."""

    low: float = Field(allow_inf_nan=False, description="The lowest good value.")
    high: float = Field(allow_inf_nan=False, description="The highest good value, not below `low`.")


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

    display_name: Annotated[
        StorableText, Field(min_length=1, max_length=255, pattern=r"\S", description="What to show instead of the id.")
    ]
    domain: Annotated[SignalDomain | None, Field(strict=False, description="Quality domain.")] = None
    unit: Annotated[Annotated[StorableText, Field(max_length=50)] | None, Field(description="Of the values.")] = None
    polarity: Annotated[MetricPolarity, Field(strict=False, description="Which direction is better.")]
    target_range: TargetRange | None = Field(None, description="Only for the polarity `target_range`.")


class MetricView(BaseModel):
    """A metric of the registry."""

    model_config = example(examples_operations.METRIC)

    metric_id: str = Field(description="As the engine names the metric.")
    display_name: str = Field(description="What to show instead of the id.")
    domain: SignalDomain | None = Field(description="Quality domain.")
    unit: str | None = Field(description="Of the values.")
    polarity: MetricPolarity = Field(description="Which direction is better.")
    target_range: TargetRange | None = Field(description="With the polarity `target_range` only.")
    created_at: AwareDatetime = Field(description="When it was registered.")
    updated_at: AwareDatetime = Field(description="When it was last replaced.")


class RecomputationState(StrEnum):
    """Where the work stands."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class RecomputationView(BaseModel):
    """How far a metric's stored signals have followed the last change of its polarity or target range."""

    model_config = example(examples_operations.RECOMPUTATION)

    metric_id: str = Field(description="The metric.")
    state: RecomputationState = Field(description="Waiting for its turn, at work, or done.")
    total: int = Field(description="Stored signals of the metric, history included.")
    examined: int = Field(description="Those that were looked at.")
    changed: int = Field(description="Those that came out otherwise; each has a `signal.corrected` event.")
    requested_at: AwareDatetime = Field(description="When the metric was changed.")
    finished_at: AwareDatetime | None = Field(description="Null until it is done.")


class MetricList(BaseModel):
    """The whole registry, in the order of the ids."""

    model_config = example(examples_operations.METRICS)

    metrics: list[MetricView] = Field(description="In the order of their ids.")


MetricId = Annotated[StorableText, Field(min_length=1, max_length=100)]
