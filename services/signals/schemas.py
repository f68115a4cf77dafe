"""What the API of this service takes and answers."""

from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

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
from shared.pagination import Cursor, Limit
from shared.text import StorableText

_DIMENSION: Final = "dimension."
_LARGEST_OFFSET: Final = 10_000
_LONGEST_VALUE: Final = 500


FilterText = Annotated[StorableText, StringConstraints(min_length=1, max_length=_LONGEST_VALUE)]
Values = Annotated[list[FilterText], Field(max_length=100)]


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


class Person(BaseModel):
    """A user."""

    id: UUID
    name: str | None = Field(description="Null until the auth service's event about the user has come.")


class SignalItem(BaseModel):
    """A signal as the list shows it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "7f1f6c52-3f0c-5c4b-9d53-3a1f4de0c111",
                    "entity_id": "b3a0a4ce-8a0f-5c2e-8d0c-6f3f9a5d2222",
                    "is_current": True,
                    "metric_id": "breachRate",
                    "domain": "Effectiveness",
                    "facility": "Northfield General",
                    "simplified_signal_type": "emerging_risk",
                    "simplified_severity": 68,
                    "workflow_status": "assigned",
                    "assignee": {"id": "3f2b8c1e-6a55-4b9a-9d0e-2f6f0a4c7b11", "name": "Nadia Nursing"},
                    "days_open": 12,
                }
            ]
        }
    )

    id: UUID
    entity_id: UUID = Field(description="What is watched: the same for all its detections.")
    is_current: bool = Field(description="Whether this is the entity's latest detection.")
    canonical_node_id: str
    metric_id: str
    domain: SignalDomain
    facility: str
    facility_id: str | None
    system_name: str | None
    service_line: str
    sub_service_line: str | None
    description: str
    metric_value: float
    peer_mean: float | None
    peer_std: float | None
    percentile_rank: float | None
    encounters: int | None
    detected_at: AwareDatetime
    created_at: AwareDatetime | None
    updated_at: AwareDatetime | None
    simplified_signal_type: SignalType | None
    simplified_severity: int | None
    entity_dimensions: dict[str, str] | None
    groupby_label: str | None
    group_value: str | None
    metric_trend_timeline: list[dict[str, Any]] | None = Field(description="Monthly values, oldest first.")
    trend_direction: str | None
    annual_excess_cost: float | None
    excess_los_days: float | None
    capacity_impact_bed_days: float | None
    expected_metric_value: float | None
    why_matters_narrative: str | None
    polarity: MetricPolarity | None
    magnitude_tier: MagnitudeTier | None
    trajectory_tier: TrajectoryTier | None
    consistency_tier: ConsistencyTier | None
    workflow_status: AssignmentStatus = Field(description="`new` also where nobody has touched it.")
    assignee: Person | None
    days_open: int = Field(description="Whole days since the detection, until it was closed or today.")


class Links(BaseModel):
    """Where to read on."""

    history: str = Field(description="The entity's other detections.")
    parent: str
    children: str
    insights: str = Field(description="All that the engine said about the signal.")


class SignalDetail(SignalItem):
    """A signal with all that is stored of it."""

    simplified_severity_range: list[int] | None
    simplified_inputs: dict[str, Any] | None
    simplified_indicators: dict[str, Any] | None
    simplified_reasoning: str | None
    simplified_severity_calculation: dict[str, Any] | None
    entity_dimensions_hash: str
    temporal_node_id: str | None
    metadata_per_period: list[dict[str, Any]] | None
    peer_percentile_trends: list[dict[str, Any]] | None
    extra: dict[str, Any] | None = Field(description="What the engine sent beyond the fields that are known.")
    period_count: int | None
    suppressed: bool
    engine_classified: bool = Field(description="Whether type and severity are the engine's own.")
    previous_signal_id: UUID | None
    current_signal_id: UUID | None = Field(description="The entity's latest detection.")
    description_edited_at: AwareDatetime | None
    description_edited_by: Person | None
    narrative_edited_at: AwareDatetime | None
    narrative_edited_by: Person | None
    insights: list[InsightView] = Field(description="The latest five; `links.insights` has all.")
    links: Links


class SignalPage(BaseModel):
    """A page of signals."""

    signals: list[SignalItem]
    total_count: int = Field(description="Signals that match the filters, exact up to 10,000.")
    total_is_capped: bool = Field(description="There are more than `total_count`.")
    limit: int
    offset: int | None = Field(description="Null where a cursor was given.")
    cursor: str | None = Field(description="For the next page; null on the last.")
    has_more: bool


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


class HistoryPage(BaseModel):
    """Earlier detections of a signal's entity, newest first, archived ones among them."""

    signals: list[SignalItem]
    cursor: str | None = Field(description="For the next page; null on the last.")
    has_more: bool


class Relatives(BaseModel):
    """Signals that belong to another one, worst first."""

    signals: list[SignalItem]


class ParentView(BaseModel):
    """The signal one dimension up."""

    signal: SignalItem | None = Field(description="Null where nothing is known one dimension up.")


class Contribution(BaseModel):
    """What one child adds to the parent's excess."""

    signal_id: UUID
    group_value: str | None
    entity_dimensions: dict[str, str]
    encounters: int | None
    share: float = Field(description="Of the encounters of all children, 0 to 1.")
    contribution: float


class Contributions(BaseModel):
    """A signal's excess over its peers, taken apart by its children."""

    signal_id: UUID
    excess: float | None = Field(description="metric_value - peer_mean; null without a peer_mean.")
    contributions: list[Contribution] = Field(description="Largest first; empty where the excess is not known.")
    unexplained: float | None = Field(description="Excess less all contributions: rounding, and children not known.")


class PeriodView(BaseModel):
    """One month: the metric's value, the peers' band and the engine's figures."""

    period: str = Field(examples=["2017-06"])
    value: float | None
    encounters: int | None
    peers: dict[str, Any] | None = Field(description="`p10`, `p25`, `p50`, `p75`, `p90`, `mean`, `std`, `n`.")
    figures: dict[str, Any] | None = Field(description="Whatever else the engine sent for the month.")


class TemporalView(BaseModel):
    """A signal over time."""

    signal_id: UUID
    metric_id: str
    polarity: MetricPolarity | None
    trend_direction: str | None
    temporal_node_id: str | None
    periods: list[PeriodView] = Field(description="Every month that timeline, peers or figures name, oldest first.")


class TechnicalView(BaseModel):
    """How a signal was classified."""

    signal_id: UUID
    zscore: float | None = Field(description="(metric_value - peer_mean) / peer_std, in the metric's own direction.")
    percentile_rank: float | None
    polarity: MetricPolarity | None
    period_count: int | None
    suppressed: bool
    magnitude_tier: MagnitudeTier | None
    trajectory_tier: TrajectoryTier | None
    consistency_tier: ConsistencyTier | None
    simplified_signal_type: SignalType | None
    simplified_severity: int | None
    simplified_severity_range: list[int] | None
    simplified_inputs: dict[str, Any] | None = Field(description="The five inputs, turned so that high is bad.")
    simplified_indicators: dict[str, Any] | None
    simplified_reasoning: str | None
    simplified_severity_calculation: dict[str, Any] | None
    engine_classified: bool
