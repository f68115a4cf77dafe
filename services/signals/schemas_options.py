"""What filter options, facilities and summary take and answer."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from services.signals.schemas import FilterText
from shared.events.vocabulary import (
    AssignmentStatus,
    ConsistencyTier,
    MagnitudeTier,
    SignalDomain,
    SignalType,
    TrajectoryTier,
)

SEVERITY_BANDS: Final = ((91, 100), (81, 90), (71, 80), (60, 70), (26, 59), (13, 25), (0, 12))
"""The severity ranges of the signal types, worst first; the triggers count by the lower bound."""


class Narrowing(BaseModel):
    """Which current signals are counted."""

    model_config = ConfigDict(extra="forbid")

    domain: list[SignalDomain] = Field(
        [], max_length=100, description="Only signals of these domains.", examples=[["Safety"]]
    )
    system_name: Annotated[list[FilterText], Field(max_length=100)] = Field(
        [], description="Only signals of these health systems.", examples=[["Northern Alliance"]]
    )


class OptionsQuery(Narrowing):
    """What the options are narrowed by, and how many of each there are."""

    limit: int = Field(100, ge=1, le=1000, description="Values of each filter; the most frequent ones.")


class FacilitiesQuery(Narrowing):
    """Which facilities."""

    q: FilterText | None = Field(
        None, description="Text in the facility's name or id, in any case of letters.", examples=["north"]
    )
    limit: int = Field(1000, ge=1, le=5000, description="Facilities, of all systems together.")


class Option(BaseModel):
    """A value that the filter of this name takes."""

    value: str
    label: str | None = Field(
        description="What to show instead of an id: the metric's display name, the facility's or the assignee's name. "
        "Null where the value is a name itself, or the name is not known."
    )
    count: int = Field(description="Current signals that have it.")


class FilterOptions(BaseModel):
    """For each filter of the list the values that occur, the most frequent first, and how many signals have each.

    A filter's values are narrowed by the other parameter, never by its own, so that a choice can be changed.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "total_count": 1200,
                    "unassigned_count": 1100,
                    "domain": [{"value": "Safety", "label": None, "count": 1200}],
                    "facility": [{"value": "Northfield General", "label": None, "count": 31}],
                    "facility_id": [{"value": "NG1", "label": "Northfield General", "count": 31}],
                    "system_name": [{"value": "Northern Alliance", "label": None, "count": 200}],
                    "service_line": [{"value": "Emergency", "label": None, "count": 400}],
                    "sub_service_line": [],
                    "metric_id": [{"value": "breachRate", "label": "Four-hour breaches", "count": 150}],
                    "signal_type": [{"value": "baseline", "label": None, "count": 500}],
                    "magnitude_tier": [{"value": "expected", "label": None, "count": 600}],
                    "status": [{"value": "new", "label": None, "count": 1000}],
                    "assignee_id": [
                        {"value": "3f2b8c1e-6a55-4b9a-9d0e-2f6f0a4c7b11", "label": "Nadia Nursing", "count": 100}
                    ],
                    "dimensions": {"department": [{"value": "1", "label": None, "count": 300}]},
                    "truncated": [],
                }
            ]
        }
    )

    total_count: int = Field(description="Current signals, narrowed by both parameters.")
    unassigned_count: int = Field(description="Those without an assignee: the filter `unassigned`.")
    domain: list[Option]
    facility: list[Option] = Field(description="By name; two facilities of one name are counted together.")
    facility_id: list[Option]
    system_name: list[Option]
    service_line: list[Option]
    sub_service_line: list[Option]
    metric_id: list[Option]
    signal_type: list[Option]
    magnitude_tier: list[Option]
    status: list[Option]
    assignee_id: list[Option]
    dimensions: dict[str, list[Option]] = Field(description="By the dimension's name: the filter `dimension.<name>`.")
    truncated: list[str] = Field(
        description="Filters that have more values than `limit`, dimensions as `dimension.<name>`.",
        examples=[["facility", "dimension.unit"]],
    )


class FacilityOption(BaseModel):
    """A facility of a system. One with another id, or of another system, is another one."""

    facility: str
    facility_id: str | None
    count: int = Field(description="Its current signals.")


class SystemFacilities(BaseModel):
    """A health system with its facilities, in the order of their names."""

    system_name: str | None = Field(description="Null for facilities without a system, which come last.")
    count: int = Field(description="Current signals of all its facilities that match, shown or not.")
    facilities: list[FacilityOption]


class Facilities(BaseModel):
    """The facilities that have current signals, by system."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "systems": [
                        {
                            "system_name": "Northern Alliance",
                            "count": 31,
                            "facilities": [{"facility": "Northfield General", "facility_id": "NG1", "count": 31}],
                        }
                    ],
                    "facility_count": 1,
                    "truncated": False,
                }
            ]
        }
    )

    systems: list[SystemFacilities]
    facility_count: int = Field(description="Facilities that match, shown or not.")
    truncated: bool = Field(description="More match than `limit`: narrow by system or text.")


class DomainCount(BaseModel):
    """Current signals of a domain."""

    value: SignalDomain
    count: int


class SignalTypeCount(BaseModel):
    """Current signals of a type."""

    value: SignalType
    count: int


class StatusCount(BaseModel):
    """Current signals in a workflow status."""

    value: AssignmentStatus
    count: int


class MagnitudeCount(BaseModel):
    """Current signals of a magnitude tier; null: without one."""

    value: MagnitudeTier | None
    count: int


class TrajectoryCount(BaseModel):
    """Current signals of a trajectory tier; null: without one."""

    value: TrajectoryTier | None
    count: int


class ConsistencyCount(BaseModel):
    """Current signals of a consistency tier; null: without one."""

    value: ConsistencyTier | None
    count: int


class SeverityBand(BaseModel):
    """Current signals whose severity lies in a band, both ends included."""

    minimum: int = Field(examples=[91])
    maximum: int = Field(examples=[100])
    count: int


class Summary(BaseModel):
    """Current signals, counted. Every possible value is there, also those that no signal has."""

    total_count: int
    open_count: int = Field(description="Those that are not closed.")
    unassigned_count: int = Field(description="Those without an assignee.")
    by_domain: list[DomainCount]
    by_signal_type: list[SignalTypeCount]
    by_severity_band: list[SeverityBand] = Field(description="Worst first.")
    by_status: list[StatusCount]
    by_magnitude_tier: list[MagnitudeCount]
    by_trajectory_tier: list[TrajectoryCount]
    by_consistency_tier: list[ConsistencyCount]
