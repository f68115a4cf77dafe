"""What filter options, facilities and summary take and answer."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from services.signals import examples_operations
from services.signals.schemas import FilterText, example
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

    value: str = Field(description="As the filter takes it.")
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
    domain: list[Option] = Field(description="Quality domains.")
    facility: list[Option] = Field(description="By name; two facilities of one name are counted together.")
    facility_id: list[Option] = Field(description="Labelled with the facility's name.")
    system_name: list[Option] = Field(description="Health systems.")
    service_line: list[Option] = Field(description="Primary service lines.")
    sub_service_line: list[Option] = Field(description="Sub-service lines.")
    metric_id: list[Option] = Field(description="Labelled with the metric's display name.")
    signal_type: list[Option] = Field(description="Types of the classification.")
    magnitude_tier: list[Option] = Field(description="How far from the peers.")
    status: list[Option] = Field(description="Workflow status.")
    assignee_id: list[Option] = Field(description="Labelled with the assignee's name.")
    dimensions: dict[str, list[Option]] = Field(description="By the dimension's name: the filter `dimension.<name>`.")
    truncated: list[str] = Field(
        description="Filters that have more values than `limit`, dimensions as `dimension.<name>`.",
        examples=[["facility", "dimension.unit"]],
    )


class FacilityOption(BaseModel):
    """A facility of a system. One with another id, or of another system, is another one."""

    facility: str = Field(description="Its name.")
    facility_id: str | None = Field(description="Medicare id or facility code.")
    count: int = Field(description="Its current signals.")


class SystemFacilities(BaseModel):
    """A health system with its facilities, in the order of their names."""

    system_name: str | None = Field(description="Null for facilities without a system, which come last.")
    count: int = Field(description="Current signals of all its facilities that match, shown or not.")
    facilities: list[FacilityOption] = Field(description="In the order of their names.")


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

    systems: list[SystemFacilities] = Field(description="In the order of their names.")
    facility_count: int = Field(description="Facilities that match, shown or not.")
    truncated: bool = Field(description="More match than `limit`: narrow by system or text.")


class DomainCount(BaseModel):
    """Current signals of a domain."""

    value: SignalDomain = Field(description="As the filter takes it.")
    count: int = Field(description="How many.")


class SignalTypeCount(BaseModel):
    """Current signals of a type."""

    value: SignalType = Field(description="As the filter takes it.")
    count: int = Field(description="How many.")


class StatusCount(BaseModel):
    """Current signals in a workflow status."""

    value: AssignmentStatus = Field(description="As the filter takes it.")
    count: int = Field(description="How many.")


class MagnitudeCount(BaseModel):
    """Current signals of a magnitude tier; null: without one."""

    value: MagnitudeTier | None = Field(description="Null: without one.")
    count: int = Field(description="How many.")


class TrajectoryCount(BaseModel):
    """Current signals of a trajectory tier; null: without one."""

    value: TrajectoryTier | None = Field(description="Null: without one.")
    count: int = Field(description="How many.")


class ConsistencyCount(BaseModel):
    """Current signals of a consistency tier; null: without one."""

    value: ConsistencyTier | None = Field(description="Null: without one.")
    count: int = Field(description="How many.")


class SeverityBand(BaseModel):
    """Current signals whose severity lies in a band, both ends included."""

    minimum: int = Field(description="The lowest severity of the band.", examples=[91])
    maximum: int = Field(description="The highest severity of the band.", examples=[100])
    count: int = Field(description="How many.")


class Summary(BaseModel):
    """Current signals, counted. Every possible value is there, also those that no signal has."""

    model_config = example(examples_operations.SUMMARY)

    total_count: int = Field(description="Current signals, narrowed by both parameters.")
    open_count: int = Field(description="Those that are not closed.")
    unassigned_count: int = Field(description="Those without an assignee.")
    by_domain: list[DomainCount] = Field(description="By quality domain.")
    by_signal_type: list[SignalTypeCount] = Field(description="By type of the classification.")
    by_severity_band: list[SeverityBand] = Field(description="Worst first.")
    by_status: list[StatusCount] = Field(description="By workflow status.")
    by_magnitude_tier: list[MagnitudeCount] = Field(description="By distance from the peers.")
    by_trajectory_tier: list[TrajectoryCount] = Field(description="By where they are going.")
    by_consistency_tier: list[ConsistencyCount] = Field(description="By how steady they are.")
