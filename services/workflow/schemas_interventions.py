"""What the API takes and answers of interventions and their outcomes."""

from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.workflow.schemas import FreeText, PersonView, Request
from shared.events.vocabulary import MetricPolarity
from shared.events.workflow import InterventionKind, InterventionOutcome
from shared.moments import Moment
from shared.pagination import NextCursor
from shared.text import StorableText

LONGEST_WINDOW_DAYS: Final = 730

Days = Annotated[int, Field(strict=True, ge=1, le=LONGEST_WINDOW_DAYS)]


class InterventionRequest(Request):
    """What is done about a signal, and over which time its effect is looked for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "staffing",
                    "title": "A second triage nurse in the evening",
                    "notes": "From 16:00 to midnight, Monday to Friday.",
                    "started_at": "2026-07-05T00:00:00Z",
                    "before_days": 90,
                    "after_days": 90,
                }
            ]
        }
    )

    kind: InterventionKind
    title: Annotated[StorableText, Field(min_length=1, max_length=255, pattern=r"\S")]
    notes: FreeText | None = None
    started_at: Annotated[
        Moment | None,
        Field(ge=datetime(1970, 1, 1, tzinfo=UTC), description="Now unless given; at most a day ahead."),
    ] = None
    before_days: Annotated[
        Days | None, Field(description="Detections of so many days before are compared; by the settings unless given.")
    ] = None
    after_days: Annotated[
        Days | None, Field(description="With those of so many days after; by the settings unless given.")
    ] = None


class WindowView(BaseModel):
    """The detections on one side of an intervention."""

    since: datetime
    until: datetime
    detections: Annotated[int, Field(description="That count; suspect data does not.")]
    mean: Annotated[float | None, Field(description="Of their metric values; null without any.")]


class TargetRangeView(BaseModel):
    """Where the metric should lie; both ends belong to it."""

    low: float
    high: float


class OutcomeView(BaseModel):
    """The metric after an intervention compared with before."""

    verdict: InterventionOutcome
    reason: Annotated[str, Field(description="Why, with the numbers, for a person to read.")]
    before: WindowView
    after: WindowView
    difference: Annotated[float | None, Field(description="Mean after less mean before.")]
    relative_change: Annotated[float | None, Field(description="The difference as a share of the mean before.")]
    polarity: Annotated[MetricPolarity | None, Field(description="What is better for this metric.")]
    target_range: Annotated[
        TargetRangeView | None,
        Field(
            description="For the polarity target_range; null where none is registered and the peers' mean stands in."
        ),
    ]
    left_out: Annotated[int, Field(description="Detections in the windows that do not count, being suspect data.")]


class InterventionView(BaseModel):
    """An intervention and what came of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "9a51670b-9c4d-58ff-b6fb-97a53845425e",
                    "signal_id": "a518ebf3-abe9-5412-9974-060591df9a17",
                    "entity_id": "d85ac2ab-e812-59c9-848b-7ffdacb8e0c3",
                    "kind": "staffing",
                    "title": "A second triage nurse in the evening",
                    "notes": "From 16:00 to midnight, Monday to Friday.",
                    "started_at": "2026-07-05T00:00:00Z",
                    "window_begins_at": "2026-04-06T00:00:00Z",
                    "window_ends_at": "2026-10-03T00:00:00Z",
                    "measured_at_the_latest": "2026-10-03T09:00:00Z",
                    "outcome": None,
                    "so_far": {
                        "verdict": "improved",
                        "reason": "From 0.2104 on average over 3 detections to 0.1498 over 2 detections (28.8% lower); "
                        "lower is better.",
                        "before": {
                            "since": "2026-04-06T00:00:00Z",
                            "until": "2026-07-05T00:00:00Z",
                            "detections": 3,
                            "mean": 0.2104,
                        },
                        "after": {
                            "since": "2026-07-05T00:00:00Z",
                            "until": "2026-10-03T00:00:00Z",
                            "detections": 2,
                            "mean": 0.1498,
                        },
                        "difference": -0.0606,
                        "relative_change": -0.288,
                        "polarity": "lower_is_better",
                        "target_range": None,
                        "left_out": 0,
                    },
                    "measured_at": None,
                    "measured_by": None,
                    "created_by": {"id": "3f2b8c1e-6a55-4b9a-9d0e-2f6f0a4c7b11", "name": "Nursing Leadership"},
                    "created_at": "2026-07-05T09:00:00Z",
                    "etag": '"1"',
                }
            ]
        }
    )

    id: UUID
    signal_id: Annotated[UUID, Field(description="The detection at which it was activated.")]
    entity_id: Annotated[UUID, Field(description="What is watched; the same for all its detections.")]
    kind: InterventionKind
    title: str
    notes: str | None
    started_at: datetime
    window_begins_at: Annotated[datetime, Field(description="From here to its start is before.")]
    window_ends_at: Annotated[datetime, Field(description="From its start to here is after.")]
    measured_at_the_latest: Annotated[
        datetime,
        Field(
            description="It is measured by itself once a detection has reached the end of the window, and at this "
            "moment if none has."
        ),
    ]
    outcome: Annotated[OutcomeView | None, Field(description="As it was measured, for good; null until then.")]
    so_far: Annotated[OutcomeView | None, Field(description="What measuring it now would say; null once measured.")]
    measured_at: datetime | None
    measured_by: Annotated[PersonView | None, Field(description="Null also where it was measured by itself.")]
    created_by: Annotated[PersonView, Field(description="By the name of that time.")]
    created_at: datetime
    etag: Annotated[str, Field(description="The same as the `ETag` header, to be sent as `If-Match`.")]


class InterventionPage(BaseModel):
    """Interventions along the chain of the entity's detections, the latest begun first."""

    interventions: list[InterventionView]
    limit: int
    cursor: NextCursor
    has_more: bool
