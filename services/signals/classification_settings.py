"""Every threshold of the classification, with the specification's defaults.

Nested in the service's settings, so that an operator can change one by its path. Impossible combinations (steps out of
order, a range outside 0-100) are refused when the service starts.
"""

from itertools import pairwise
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, PositiveInt, model_validator


class Step(NamedTuple):
    """An adjustment of the severity that applies beyond a threshold."""

    threshold: FiniteFloat
    adjustment: int


def _range_of_severities(value: tuple[int, int]) -> tuple[int, int]:
    if not 0 <= value[0] <= value[1] <= 100:
        raise ValueError("a severity range lies within 0-100, lowest first")
    return value


def _ascending_steps(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    _require_ascending("steps", *(step.threshold for step in steps))
    return steps


def _descending_steps(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    _require_ascending("steps, last first", *(step.threshold for step in reversed(steps)))
    return steps


def _require_ascending(names: str, *values: float) -> None:
    if any(lower >= higher for lower, higher in pairwise(values)):
        raise ValueError(f"{names}: must ascend, but are {', '.join(f'{value:g}' for value in values)}")


Percentile = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
SeverityRange = Annotated[tuple[int, int], AfterValidator(_range_of_severities)]
StepsBelow = Annotated[tuple[Step, ...], AfterValidator(_ascending_steps)]
"""The first step whose threshold lies above the value applies: lowest threshold first."""
StepsAbove = Annotated[tuple[Step, ...], AfterValidator(_descending_steps)]
"""The first step whose threshold lies below the value applies: highest threshold first."""


class _Thresholds(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MagnitudeThresholds(_Thresholds):
    """Lowest percentile of each magnitude tier; `critical_zscore` is the |z| that makes a figure critical by itself."""

    critical: Percentile = 99.0
    severe: Percentile = 95.0
    elevated: Percentile = 85.0
    marginal: Percentile = 75.0
    expected: Percentile = 25.0
    favorable: Percentile = 10.0
    critical_zscore: NonNegative = 3.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _require_ascending(
            "favorable, expected, marginal, elevated, severe, critical",
            *(self.favorable, self.expected, self.marginal, self.elevated, self.severe, self.critical),
        )
        return self


class TrajectoryThresholds(_Thresholds):
    """Lowest slope percentile of each trajectory tier."""

    rapidly_deteriorating: Percentile = 90.0
    deteriorating: Percentile = 70.0
    stable: Percentile = 30.0
    improving: Percentile = 10.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _require_ascending(
            "improving, stable, deteriorating, rapidly_deteriorating",
            *(self.improving, self.stable, self.deteriorating, self.rapidly_deteriorating),
        )
        return self


class ConsistencyThresholds(_Thresholds):
    """Coefficients of variation and numbers of periods of the consistency tiers."""

    persistent_below: NonNegative = 0.30
    persistent_periods: PositiveInt = 6
    variable_up_to: NonNegative = 0.70
    minimum_periods: PositiveInt = 3


class IndicatorThresholds(_Thresholds):
    """Where the five inputs turn from one categorical reading to the next."""

    excellent_below: FiniteFloat = -1.5
    favorable_below: FiniteFloat = -0.5
    normal_up_to: FiniteFloat = 0.5
    marginal_up_to: FiniteFloat = 1.0
    elevated_up_to: FiniteFloat = 2.0
    rapidly_improving_below: Percentile = 10.0
    improving_below: Percentile = 30.0
    stable_below: Percentile = 70.0
    worsening_below: Percentile = 90.0
    neutral_acceleration_up_to: NonNegative = 0.005
    consistent_below: NonNegative = 0.5
    spike_from: NonNegative = 3.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _require_ascending(
            "excellent_below, favorable_below, normal_up_to, marginal_up_to, elevated_up_to",
            *(self.excellent_below, self.favorable_below),
            *(self.normal_up_to, self.marginal_up_to, self.elevated_up_to),
        )
        _require_ascending(
            "rapidly_improving_below, improving_below, stable_below, worsening_below",
            *(self.rapidly_improving_below, self.improving_below, self.stable_below, self.worsening_below),
        )
        return self


class TypeThresholds(_Thresholds):
    """The conditions of the nine types: z is the mean z-score, slopes are percentiles."""

    minimum_periods: PositiveInt = 3
    critical_zscore_above: FiniteFloat = 2.0
    critical_slope_from: Percentile = 90.0
    chronic_zscore_above: FiniteFloat = 1.0
    chronic_slope_from: Percentile = 70.0
    volatility_deviation_from: NonNegative = 3.0
    recovering_zscore_above: FiniteFloat = 1.0
    recovering_slope_below: Percentile = 30.0
    excellence_zscore_below: FiniteFloat = -1.5
    excellence_slope_from: Percentile = 30.0
    excellence_slope_below: Percentile = 70.0
    leader_slope_below: Percentile = 30.0
    leader_zscore_up_to: FiniteFloat = 0.5
    risk_slope_from: Percentile = 70.0
    risk_zscore_from: FiniteFloat = -0.5
    risk_zscore_up_to: FiniteFloat = 1.0


class SeverityRanges(_Thresholds):
    """Lowest and highest severity of each type; the base severity is the floor of the middle."""

    suspect_data: SeverityRange = (50, 50)
    critical_trajectory: SeverityRange = (91, 100)
    chronic_underperformer: SeverityRange = (81, 90)
    volatility_alert: SeverityRange = (71, 80)
    recovering: SeverityRange = (60, 70)
    sustained_excellence: SeverityRange = (0, 12)
    improving_leader: SeverityRange = (13, 25)
    emerging_risk: SeverityRange = (60, 70)
    baseline: SeverityRange = (26, 59)


class SeverityRefinements(_Thresholds):
    """What is added to a base severity: the first step that applies counts, beyond the last one the `otherwise`."""

    slope_below: Annotated[StepsBelow, Field(min_length=1)] = (
        Step(20.0, -2),
        Step(40.0, -1),
        Step(60.0, 0),
        Step(80.0, 1),
    )
    slope_otherwise: int = 2
    baseline_position_below: StepsBelow = (Step(-1.0, -2), Step(-0.5, -1))
    baseline_position_above: StepsAbove = (Step(1.0, 2), Step(0.5, 1))
    high_position_above: StepsAbove = (Step(0.5, 1),)
    """For emerging_risk, chronic_underperformer and critical_trajectory."""
    risk_acceleration_above: StepsAbove = (Step(0.01, 2), Step(0.005, 1))
    leader_acceleration_below: StepsBelow = (Step(-0.005, -2),)


class InputRules(_Thresholds):
    """How the inputs are computed from a timeline and its peers."""

    minimum_peers: PositiveInt = 2
    acceleration_periods: PositiveInt = 12
    quartiles_per_std: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.349
    """Distance of the quartiles of a normal distribution, in standard deviations."""


class ClassificationSettings(_Thresholds):
    """All thresholds of the classification."""

    inputs: InputRules = InputRules()
    magnitude: MagnitudeThresholds = MagnitudeThresholds()
    trajectory: TrajectoryThresholds = TrajectoryThresholds()
    consistency: ConsistencyThresholds = ConsistencyThresholds()
    indicators: IndicatorThresholds = IndicatorThresholds()
    types: TypeThresholds = TypeThresholds()
    ranges: SeverityRanges = SeverityRanges()
    refinements: SeverityRefinements = SeverityRefinements()
