"""What became of a metric after an intervention: before and after compared. Pure rules.

Time is that of the data, `detected_at`: a detection at the very start of the intervention is before, since it tells of
the time up to it.
"""

from collections.abc import Sequence
from datetime import datetime
from math import isclose
from statistics import fmean
from typing import Final, NamedTuple

from services.workflow.schemas_interventions import OutcomeView, TargetRangeView, WindowView
from services.workflow.settings import OutcomeSettings
from shared.events.vocabulary import MetricPolarity, SignalType
from shared.events.workflow import InterventionOutcome

_BETTER: Final = {
    MetricPolarity.LOWER_IS_BETTER: "lower is better",
    MetricPolarity.HIGHER_IS_BETTER: "higher is better",
}


class Reading(NamedTuple):
    """One detection of the entity, as far as it is measured by."""

    detected_at: datetime
    value: float
    peer_mean: float | None
    polarity: MetricPolarity
    signal_type: str


class Windows(NamedTuple):
    """From the first to the second moment is before, from the second to the third after."""

    begin: datetime
    start: datetime
    end: datetime


class _Sides(NamedTuple):
    before: list[Reading]
    after: list[Reading]


def measure(
    readings: Sequence[Reading], windows: Windows, target: TargetRangeView | None, rules: OutcomeSettings
) -> OutcomeView:
    """Compare the entity's detections in the two windows; others among them, and suspect data, do not count.

    The means are of the raw values; the verdict is by their distance from what is good: the value itself turned by the
    polarity, or the distance outside of the target range, or without one from the peers' mean. It is taken from
    unrounded figures. The latest detection's polarity holds for all.
    """
    inside = sorted(reading for reading in readings if windows.begin <= reading.detected_at <= windows.end)
    counted = [reading for reading in inside if reading.signal_type != SignalType.SUSPECT_DATA]
    sides = _Sides(
        [reading for reading in counted if reading.detected_at <= windows.start],
        [reading for reading in counted if reading.detected_at > windows.start],
    )
    polarity = counted[-1].polarity if counted else None
    if polarity is not MetricPolarity.TARGET_RANGE:
        target = None
    before, after = (fmean(reading.value for reading in side) if side else None for side in sides)
    verdict, reason = _verdict(sides, windows, polarity, target, rules)
    difference = None if before is None or after is None else after - before
    return OutcomeView(
        verdict=verdict,
        reason=reason,
        before=WindowView(
            since=windows.begin, until=windows.start, detections=len(sides.before), mean=_rounded(before)
        ),
        after=WindowView(since=windows.start, until=windows.end, detections=len(sides.after), mean=_rounded(after)),
        difference=_rounded(difference),
        relative_change=_rounded(difference / abs(before)) if difference is not None and before else None,
        polarity=polarity,
        target_range=target,
        left_out=len(inside) - len(counted),
    )


def _verdict(
    sides: _Sides,
    windows: Windows,
    polarity: MetricPolarity | None,
    target: TargetRangeView | None,
    rules: OutcomeSettings,
) -> tuple[InterventionOutcome, str]:
    for side, name, since, until in (
        (sides.before, "before", windows.begin, windows.start),
        (sides.after, "after", windows.start, windows.end),
    ):
        if len(side) < rules.minimum_detections:
            return InterventionOutcome.NOT_ENOUGH_DATA, (
                f"{_detections(len(side)).capitalize()} {name} it started, from {since:%Y-%m-%d} to {until:%Y-%m-%d}; "
                f"at least {rules.minimum_detections} must be there to compare with."
            )
    if polarity is None:
        raise AssertionError("there are detections")
    distances = [[_distance(reading, polarity, target) for reading in side] for side in sides]
    known = [[distance for distance in side if distance is not None] for side in distances]
    if any(len(side) < len(all_of) for side, all_of in zip(known, distances, strict=True)):
        return InterventionOutcome.NOT_ENOUGH_DATA, (
            "What is good for this metric is a range, but none is registered for it, and not every detection has a "
            "mean of the peers to stand in."
        )
    before = fmean(reading.value for reading in sides.before)
    after = fmean(reading.value for reading in sides.after)
    worse_by = fmean(known[1]) - fmean(known[0])
    numbers = (
        f"From {before:.4g} on average over {_detections(len(sides.before))} to {after:.4g} over "
        f"{_detections(len(sides.after))}{_share(before, after)}"
    )
    what = _BETTER.get(polarity) or _what_is_good(target, fmean(known[0]), fmean(known[1]))
    most = rules.unchanged_within * abs(before)
    if abs(worse_by) <= most or isclose(abs(worse_by), most):
        limit = f"{rules.unchanged_within * 100:.3g}%"
        return InterventionOutcome.UNCHANGED, f"{numbers}; {what}. A change of up to {limit} counts as none."
    verdict = InterventionOutcome.WORSENED if worse_by > 0 else InterventionOutcome.IMPROVED
    return verdict, f"{numbers}; {what}."


def _distance(reading: Reading, polarity: MetricPolarity, target: TargetRangeView | None) -> float | None:
    """How bad a value is, on the metric's own scale; None where nothing says what is good."""
    if polarity is MetricPolarity.LOWER_IS_BETTER:
        return reading.value
    if polarity is MetricPolarity.HIGHER_IS_BETTER:
        return -reading.value
    if target is not None:
        return max(target.low - reading.value, reading.value - target.high, 0.0)
    return None if reading.peer_mean is None else abs(reading.value - reading.peer_mean)


def _what_is_good(target: TargetRangeView | None, before: float, after: float) -> str:
    aim = "the peers' mean" if target is None else f"the target range of {target.low:.4g} to {target.high:.4g}"
    return f"its distance from {aim} went from {before:.4g} to {after:.4g}"


def _share(before: float, after: float) -> str:
    if not before or before == after:
        return ""
    return f" ({abs(after - before) / abs(before):.1%} {'higher' if after > before else 'lower'})"


def _detections(count: int) -> str:
    return f"{count or 'no'} detection{'' if count == 1 else 's'}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
