"""The figures that a signal is classified by, and the five inputs made of them, turned so that high is bad."""

from collections.abc import Iterable, Sequence
from math import isfinite

from msgspec import Struct

from services.signals.classification_settings import InputRules
from shared.events.engine import ClassificationInputs, PeerPeriod, SeverityCalculation, TimelinePoint
from shared.events.vocabulary import MetricPolarity, SignalType
from shared.statistics import mean, month_number, population_std, second_derivative

_LOWER = MetricPolarity.LOWER_IS_BETTER
_HIGHER = MetricPolarity.HIGHER_IS_BETTER


class SentClassification(Struct, frozen=True):
    """What the engine said about a signal's classification, each part optional."""

    signal_type: SignalType | None = None
    severity: int | None = None
    severity_range: Sequence[int] | None = None
    indicators: dict[str, str] | None = None
    reasoning: str | None = None
    calculation: SeverityCalculation | None = None


class Figures(Struct, frozen=True):
    """What the classification of one signal is made from: raw figures, in the metric's own direction.

    `target_range` comes from the metric registry, lowest first. `inputs` are the engine's, already turned.
    Periods are months (`2017-06`), oldest first, each once.
    """

    metric_value: float
    peer_mean: float | None = None
    peer_std: float | None = None
    percentile_rank: float | None = None
    polarity: MetricPolarity = MetricPolarity.LOWER_IS_BETTER
    target_range: tuple[float, float] | None = None
    timeline: Sequence[TimelinePoint] = ()
    peer_trends: Sequence[PeerPeriod] = ()
    period_count: int | None = None
    suppressed: bool = False
    inputs: ClassificationInputs | None = None
    sent: SentClassification | None = None


def turned_percentile(percentile: float | None, polarity: MetricPolarity) -> float | None:
    """The percentile of a raw value as one where high is bad."""
    if percentile is None or polarity is _LOWER:
        return percentile
    return 100.0 - percentile if polarity is _HIGHER else 2.0 * abs(percentile - 50.0)


def turned_zscores(
    rows: Iterable[tuple[float, float, float]],
    polarity: MetricPolarity,
    target_range: tuple[float, float] | None,
) -> list[float]:
    """How many standard deviations each raw value is worse than its peers; rows of (value, centre, spread above 0).

    For a target range, both the value and the centre of the peers count by their distance outside of it; where the
    range is not known, the peers' centre is the target.
    """
    if polarity is _LOWER:
        return [(value - centre) / spread for value, centre, spread in rows]
    if polarity is _HIGHER:
        return [(centre - value) / spread for value, centre, spread in rows]
    if target_range is None:
        return [abs(value - centre) / spread for value, centre, spread in rows]
    low, high = target_range
    return [
        (max(low - value, value - high, 0.0) - max(low - centre, centre - high, 0.0)) / spread
        for value, centre, spread in rows
    ]


def single_zscore(figures: Figures) -> float | None:
    """The turned z-score of the signal's value among its peers; None where the peers have no spread or are unknown."""
    centre, spread = figures.peer_mean, figures.peer_std
    if centre is None or spread is None or spread <= 0.0:
        return None
    row = (figures.metric_value, centre, spread)
    return _finite(turned_zscores((row,), figures.polarity, figures.target_range)[0])


def classification_inputs(figures: Figures, single: float | None, rules: InputRules) -> ClassificationInputs:
    """The five inputs: as the engine sent them, else the four that a timeline and its peers give, else z alone.

    `single` is the figures' single z-score, which also stands in where no month of the timeline can be compared.
    Inputs of which every one is null are none.
    """
    sent = figures.inputs
    if sent is not None and sent != _NO_INPUTS:
        return sent
    if figures.timeline and figures.peer_trends:
        periods, zscores = _monthly_zscores(figures, rules)
        if zscores and isfinite(average := mean(zscores)):
            return ClassificationInputs(
                aggregate_zscore=average,
                acceleration=_finite(second_derivative(list(map(month_number, periods)), zscores))
                if len(zscores) >= rules.acceleration_periods
                else None,
                zscore_std=_finite(population_std(zscores)),
                max_abs_deviation=max(map(abs, zscores)),
            )
    return _NO_INPUTS if single is None else ClassificationInputs(aggregate_zscore=single)


_NO_INPUTS = ClassificationInputs()


def _monthly_zscores(figures: Figures, rules: InputRules) -> tuple[list[str], list[float]]:
    """The periods whose value can be compared with its peers, and the turned z-score of each."""
    peers = {peer.period: peer for peer in figures.peer_trends}
    minimum_peers, quartiles_per_std = rules.minimum_peers, rules.quartiles_per_std
    periods: list[str] = []
    rows: list[tuple[float, float, float]] = []
    for point in figures.timeline:
        value, peer = point.value, peers.get(point.period)
        if value is None or peer is None or (peer.n is not None and peer.n < minimum_peers):
            continue
        centre, spread = peer.mean, peer.std
        if centre is None or spread is None:
            centre = peer.p50
            if centre is None or peer.p25 is None or peer.p75 is None:
                continue
            spread = (peer.p75 - peer.p25) / quartiles_per_std
        if spread > 0.0:
            periods.append(point.period)
            rows.append((value, centre, spread))
    return periods, turned_zscores(rows, figures.polarity, figures.target_range)


def _finite(value: float | None) -> float | None:
    # Finite figures may still divide to infinity, which neither JSON nor a comparison could make sense of.
    return value if value is not None and isfinite(value) else None
