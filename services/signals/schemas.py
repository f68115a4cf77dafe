"""What the API of this service takes and answers."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Path
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

from services.signals import examples
from services.signals.repository_filters import SignalFilters, Sort, SortOrder
from services.signals.schemas_insights import InsightView
from shared.errors import FieldProblem, InvalidError
from shared.events.vocabulary import (
    AssignmentStatus,
    ConsistencyTier,
    MagnitudeTier,
    MetricPolarity,
    SignalDomain,
    SignalType,
    TrajectoryTier,
)
from shared.moments import Moment
from shared.pagination import Cursor, Limit, NextCursor
from shared.text import StorableText

_DIMENSION: Final = "dimension."
_LARGEST_OFFSET: Final = 10_000
_LONGEST_VALUE: Final = 500


SignalId = Annotated[
    UUID, Path(description="The `id` of a detection, current or not.", examples=[examples.SIGNAL["id"]])
]
FilterText = Annotated[StorableText, StringConstraints(min_length=1, max_length=_LONGEST_VALUE)]
Values = Annotated[list[FilterText], Field(max_length=100)]


ETAG: Final[dict[str, Any]] = {"ETag": {"schema": {"type": "string"}, "description": "The version, for `If-Match`."}}
"""For the description of an answer that has one."""


class SignalQuery(BaseModel):
    """Filters, sort and page of the list. A filter given several times matches any of its values."""

    # What FastAPI does not know by name arrives as an extra: `dimension.<name>`, and mistakes, which are refused.
    model_config = ConfigDict(extra="allow")

    domain: list[SignalDomain] = Field(
        [], max_length=100, description="Quality domain.", examples=[["Safety", "Efficiency"]]
    )
    facility: Values = Field(
        [], description="Names; a name may hold a comma.", examples=[["Northfield General", "Mercy, East Wing"]]
    )
    facility_id: Values = Field([], description="Medicare ids or facility codes.", examples=[["NG1"]])
    system_name: Values = Field([], description="Names of health systems.", examples=[["Northern Alliance"]])
    service_line: Values = Field([], description="Primary service lines.", examples=[["Emergency"]])
    sub_service_line: Values = Field(
        [], description="Sub-service lines; signals without one never match.", examples=[["Minor Injuries"]]
    )
    metric_id: Values = Field([], description="Metrics, by the engine's id.", examples=[["breachRate"]])
    signal_type: list[SignalType] = Field(
        [], max_length=100, description="Types of the classification.", examples=[["critical_trajectory"]]
    )
    min_severity: int | None = Field(None, ge=0, le=100, description="This severity or more.", examples=[81])
    magnitude_tier: list[MagnitudeTier] = Field(
        [], max_length=100, description="How far from the peers.", examples=[["critical", "severe"]]
    )
    status: list[AssignmentStatus] = Field(
        [],
        max_length=100,
        description="Workflow status; `new` includes signals that nobody has touched.",
        examples=[["new", "assigned"]],
    )
    assignee_id: Annotated[
        list[FilterText], Field(max_length=100, description="Ids of users, or `me`.", examples=[["me"]])
    ] = []
    unassigned: bool | None = Field(None, description="True: without an assignee; false: with one.")
    detected_from: Moment | None = Field(
        None, description="Only what was detected at this time or later.", examples=["2026-07-01T00:00:00Z"]
    )
    detected_to: Moment | None = Field(
        None, description="Only what was detected before this time.", examples=["2026-08-01T00:00:00+01:00"]
    )
    q: FilterText | None = Field(
        None,
        description="Text in the description, the facility's name, or the metric's id or display name, in any case of "
        "letters. A text without three letters A-Z or digits in a row is looked for in the names only.",
        examples=["four hours"],
    )
    include_history: bool = Field(False, description="Also detections that a newer one has replaced, unless archived.")
    sort_by: Sort = Field(
        Sort.DETECTED_AT, description="`priority` is the severity. Ties are in the order of detection, then of the id."
    )
    sort_order: SortOrder = Field(SortOrder.DESC, description="Missing values are last both ways.")
    limit: Limit = 25
    cursor: Cursor = None
    offset: int | None = Field(
        None, ge=0, le=_LARGEST_OFFSET, description="Rows to skip; a cursor reaches further and faster."
    )

    @field_validator("assignee_id")
    @classmethod
    def _users(cls, values: list[str]) -> list[str]:
        for value in values:
            if value != "me":
                UUID(value)
        return values

    def filters(self, caller: UUID) -> SignalFilters:
        """The filters as the repository takes them; `me` is the caller.

        Raises:
            InvalidError: for parameters that do not exist or exclude each other.
        """
        if self.cursor is not None and self.offset is not None:
            raise _invalid("offset", "A cursor and an offset exclude each other.")
        return SignalFilters(
            domain=self.domain,
            facility=self.facility,
            facility_id=self.facility_id,
            system_name=self.system_name,
            service_line=self.service_line,
            sub_service_line=self.sub_service_line,
            metric_id=self.metric_id,
            signal_type=self.signal_type,
            magnitude_tier=self.magnitude_tier,
            status=self.status,
            assignee_id=[caller if value == "me" else UUID(value) for value in self.assignee_id],
            unassigned=self.unassigned,
            min_severity=self.min_severity,
            detected_from=self.detected_from,
            detected_to=self.detected_to,
            dimensions=_dimensions(self.model_extra or {}),
            q=self.q,
            include_history=self.include_history,
        )


def _dimensions(extra: dict[str, Any]) -> dict[str, list[str]]:
    dimensions = {}
    for name, given in extra.items():
        dimension = name.removeprefix(_DIMENSION)
        values = [given] if isinstance(given, str) else given
        if dimension in (name, ""):
            raise _invalid(name, f"There is no parameter {name!r}.")
        if "\0" in name or any("\0" in value or len(value) > _LONGEST_VALUE for value in values):
            raise _invalid(name, f"A dimension's value has at most {_LONGEST_VALUE} characters, none of them NUL.")
        dimensions[dimension] = values
    return dimensions


def _invalid(parameter: str, detail: str) -> InvalidError:
    pointer = "/query/" + parameter.replace("~", "~0").replace("/", "~1")
    return InvalidError(detail, errors=[FieldProblem(pointer=pointer, detail=detail)])


def example(value: examples.Example) -> ConfigDict:
    """What a model's answer looks like, for its description."""
    return ConfigDict(json_schema_extra={"examples": [value]})


class Person(BaseModel):
    """A user."""

    id: UUID = Field(description="As in `GET /api/assignees`.")
    name: str | None = Field(description="Null until the auth service's event about the user has come.")


class Graded(BaseModel):
    """A signal's place in the gradings."""

    percentile_rank: float | None = Field(description="Place among the peers, 0 to 100, in the metric's own direction.")
    polarity: MetricPolarity | None = Field(description="Which direction of the metric is better.")
    magnitude_tier: MagnitudeTier | None = Field(description="How far from the peers; null without the figures.")
    trajectory_tier: TrajectoryTier | None = Field(description="Where it is going; null without a timeline.")
    consistency_tier: ConsistencyTier | None = Field(description="How steady it is; null without a timeline.")
    simplified_signal_type: SignalType | None = Field(description="One of the nine types.")
    simplified_severity: int | None = Field(description="0 to 100, 100 the worst; within the range of the type.")


class Derivation(BaseModel):
    """How the type and the severity came about."""

    simplified_severity_range: list[int] | None = Field(description="Lowest and highest severity of the type.")
    simplified_inputs: dict[str, Any] | None = Field(
        description="The five inputs, turned so that high is bad; null where one is not known."
    )
    simplified_indicators: dict[str, Any] | None = Field(description="What each input says, in a word.")
    simplified_reasoning: str | None = Field(description="Why this type: a sentence with the numbers.")
    simplified_severity_calculation: dict[str, Any] | None = Field(
        description="The severity step by step: `base_severity` and all adjustments add up to `final_severity`."
    )
    period_count: int | None = Field(description="Months behind the classification.")
    suppressed: bool = Field(description="The engine held the figures back as too few to be relied on.")
    engine_classified: bool = Field(description="Whether type and severity are the engine's own.")


class SignalItem(Graded):
    """A signal as the list shows it."""

    model_config = example(examples.SIGNAL)

    id: UUID = Field(description="Of this detection; the next one of the same entity has another.")
    entity_id: UUID = Field(description="What is watched: the same for all its detections.")
    is_current: bool = Field(description="Whether this is the entity's latest detection.")
    canonical_node_id: str = Field(description="The engine's own name of what is watched.")
    metric_id: str = Field(description="As in `GET /api/metrics`, where the metric is registered.")
    domain: SignalDomain = Field(description="Quality domain.")
    facility: str = Field(description="The facility's name.")
    facility_id: str | None = Field(description="Medicare id or facility code.")
    system_name: str | None = Field(description="The health system that the facility belongs to.")
    service_line: str = Field(description="Primary service line.")
    sub_service_line: str | None = Field(description="Within the service line, where there is one.")
    description: str = Field(description="What was found, in a sentence.")
    metric_value: float = Field(description="The metric's latest value.")
    peer_mean: float | None = Field(description="Mean of the peers.")
    peer_std: float | None = Field(description="Standard deviation of the peers.")
    encounters: int | None = Field(description="Encounters that the value was made from.")
    detected_at: AwareDatetime = Field(description="When the engine found it.")
    created_at: AwareDatetime | None = Field(description="When it was stored.")
    updated_at: AwareDatetime | None = Field(description="When it was last changed.")
    entity_dimensions: dict[str, str] | None = Field(
        description="What the figures are broken down by: the filter `dimension.<name>`. Empty for the whole facility."
    )
    groupby_label: str | None = Field(description="What the dimensions are called.")
    group_value: str | None = Field(description="What the dimensions' values are called.")
    metric_trend_timeline: list[dict[str, Any]] | None = Field(description="Monthly values, oldest first.")
    trend_direction: str | None = Field(description="`increasing`, `decreasing` or `stable`.")
    annual_excess_cost: float | None = Field(description="Estimated cost a year above the expected one.")
    excess_los_days: float | None = Field(description="Days of stay above the expected ones.")
    capacity_impact_bed_days: float | None = Field(description="Bed days that this takes.")
    expected_metric_value: float | None = Field(description="Expected with these patients.")
    why_matters_narrative: str | None = Field(description="Why it matters, in the engine's words or a user's.")
    workflow_status: AssignmentStatus = Field(description="`new` also where nobody has touched it.")
    assignee: Person | None = Field(description="Who works on it.")
    days_open: int = Field(description="Whole days since the detection, until it was closed or today.")


class Links(BaseModel):
    """Where to read on."""

    history: str = Field(description="The entity's other detections.")
    parent: str = Field(description="The signal one dimension up.")
    children: str = Field(description="The signals one dimension down.")
    insights: str = Field(description="All that the engine said about the signal.")


class SignalDetail(Derivation, SignalItem):
    """A signal with all that is stored of it."""

    model_config = example(examples.SIGNAL_DETAIL)

    entity_dimensions_hash: str = Field(description="Of the dimensions: equal for equal ones.")
    temporal_node_id: str | None = Field(description="The engine's name of the figures over time.")
    metadata_per_period: list[dict[str, Any]] | None = Field(description="The engine's further figures, by month.")
    peer_percentile_trends: list[dict[str, Any]] | None = Field(description="The peers' distribution, by month.")
    extra: dict[str, Any] | None = Field(description="What the engine sent beyond the fields that are known.")
    previous_signal_id: UUID | None = Field(description="The detection that this one replaced.")
    current_signal_id: UUID | None = Field(description="The entity's latest detection.")
    description_edited_at: AwareDatetime | None = Field(description="Null while the description is the engine's.")
    description_edited_by: Person | None = Field(description="Who wrote the description.")
    narrative_edited_at: AwareDatetime | None = Field(description="Null while the narrative is the engine's.")
    narrative_edited_by: Person | None = Field(description="Who wrote the narrative.")
    insights: list[InsightView] = Field(description="The latest five; `links.insights` has all.")
    links: Links = Field(description="Paths of what belongs to it.")


class SignalPage(BaseModel):
    """A page of signals."""

    model_config = example(examples.SIGNAL_PAGE)

    signals: list[SignalItem] = Field(description="In the order that was asked for.")
    total_count: int = Field(description="Signals that match the filters, exact up to 10,000.")
    total_is_capped: bool = Field(description="There are more than `total_count`.")
    limit: int = Field(description="Rows per page, as asked for.")
    offset: int | None = Field(description="Null where a cursor was given.")
    cursor: NextCursor
    has_more: bool = Field(description="There is a next page.")


class Request(BaseModel):
    """A request's body: a field that it does not have is an error, not ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)


WrittenText = Annotated[StorableText, Field(min_length=1, max_length=10_000, pattern=r"\S")]


class SignalEdit(Request):
    """Texts of a signal in a user's words. They stay when the engine publishes the detection again."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"why_matters_narrative": "Each tenth patient waits over four hours."}]}
    )

    description: WrittenText | None = Field(None, description="What was found. Left out or null: unchanged.")
    why_matters_narrative: WrittenText | None = Field(None, description="Left out: unchanged; null: none.")
