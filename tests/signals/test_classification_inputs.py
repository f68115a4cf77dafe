"""The five inputs: kept, computed from a timeline and its peers, or the single z-score."""

import numpy as np
import pytest
from msgspec.structs import asdict

from services.signals.classification import Figures
from services.signals.classification_inputs import classification_inputs, single_zscore, turned_percentile
from services.signals.classification_settings import InputRules
from shared.events.engine import ClassificationInputs, PeerPeriod, TimelinePoint
from shared.events.vocabulary import MetricPolarity

LOWER, HIGHER, TARGET = MetricPolarity
MONTHS = [f"{2016 + i // 12}-{i % 12 + 1:02}" for i in range(24)]
VALUES = [round(0.1 + 0.03 * np.sin(i) + 0.002 * i, 6) for i in range(24)]
MEANS = [round(0.1 + 0.001 * i, 6) for i in range(24)]
STDS = [round(0.02 + 0.0005 * (i % 5), 6) for i in range(24)]


def inputs_of(figures: Figures) -> ClassificationInputs:
    return classification_inputs(figures, single_zscore(figures), InputRules())


def figures(
    months: int = 24,
    polarity: MetricPolarity = LOWER,
    target_range: tuple[float, float] | None = None,
    skip: tuple[int, ...] = (),
) -> Figures:
    kept = [i for i in range(months) if i not in skip]
    return Figures(
        metric_value=0.3,
        peer_mean=0.1,
        peer_std=0.1,
        polarity=polarity,
        target_range=target_range,
        timeline=[TimelinePoint(MONTHS[i], VALUES[i]) for i in kept],
        peer_trends=[PeerPeriod(MONTHS[i], mean=MEANS[i], std=STDS[i], n=30) for i in range(24)],
    )


def assert_inputs(found: ClassificationInputs, zscores: np.ndarray, months: list[int]) -> None:
    acceleration = 2 * np.polyfit(months, zscores, 2)[0] if len(months) >= 12 else None
    assert asdict(found) == pytest.approx(
        {
            "aggregate_zscore": np.mean(zscores),
            "slope_percentile": None,
            "acceleration": acceleration,
            "zscore_std": np.std(zscores),
            "max_abs_deviation": np.max(np.abs(zscores)),
        }
    )


def raw_zscores(kept: list[int]) -> np.ndarray:
    return np.array([(VALUES[i] - MEANS[i]) / STDS[i] for i in kept])


@pytest.mark.parametrize(
    ("months", "skip"), [(24, ()), (12, ()), (11, ()), (3, ()), (1, ()), (24, (3, 4, 17)), (14, (0, 5)), (13, (0, 5))]
)
def test_four_inputs_from_the_timeline_and_its_peers(months: int, skip: tuple[int, ...]) -> None:
    kept = [i for i in range(months) if i not in skip]
    assert_inputs(inputs_of(figures(months, skip=skip)), raw_zscores(kept), kept)


def test_a_higher_value_may_be_the_better_one() -> None:
    kept = list(range(24))
    assert_inputs(inputs_of(figures(polarity=HIGHER)), -raw_zscores(kept), kept)


def test_without_a_target_the_peers_mean_is_it() -> None:
    kept = list(range(24))
    assert_inputs(inputs_of(figures(polarity=TARGET)), np.abs(raw_zscores(kept)), kept)


def test_in_a_target_range_the_distance_outside_counts() -> None:
    low, high = 0.09, 0.115

    def distance(values: list[float]) -> np.ndarray:
        return np.array([low - x if x < low else x - high if x > high else 0.0 for x in values])

    zscores = (distance(VALUES) - distance(MEANS)) / np.array(STDS)
    assert_inputs(inputs_of(figures(polarity=TARGET, target_range=(low, high))), zscores, list(range(24)))


@pytest.mark.parametrize(
    ("polarity", "turned"), [(LOWER, [2.0, -1.0, 0.0]), (HIGHER, [-2.0, 1.0, 0.0]), (TARGET, [2.0, 1.0, 0.0])]
)
def test_quartiles_stand_in_for_mean_and_deviation(polarity: MetricPolarity, turned: list[float]) -> None:
    """(x - p50) / ((p75 - p25) / 1.349), where the peers' mean or deviation of a month is not sent."""
    peers = [
        PeerPeriod(MONTHS[0], p25=0.1, p50=0.2, p75=0.1 + 0.1349),
        PeerPeriod(MONTHS[1], p25=0.1, p50=0.2, p75=0.1 + 0.1349, mean=9.0),
        PeerPeriod(MONTHS[2], p25=0.1, p50=0.2, p75=0.1 + 0.1349, std=9.0),
    ]
    timeline = [TimelinePoint(month, value) for month, value in zip(MONTHS, [0.4, 0.1, 0.2], strict=False)]
    found = inputs_of(Figures(0.1, polarity=polarity, timeline=timeline, peer_trends=peers))
    assert found.aggregate_zscore == pytest.approx(np.mean(turned))
    assert found.zscore_std == pytest.approx(np.std(turned))
    assert found.max_abs_deviation == pytest.approx(2.0)


@pytest.mark.parametrize(
    "peer",
    [
        PeerPeriod(MONTHS[0]),
        PeerPeriod(MONTHS[0], mean=0.1, std=0.0),
        PeerPeriod(MONTHS[0], mean=0.1, std=0.0, p25=0.1, p50=0.2, p75=0.3),
        PeerPeriod(MONTHS[0], mean=0.1, std=0.1, n=1),
        PeerPeriod(MONTHS[0], p25=0.1, p50=0.2, p75=0.1),
        PeerPeriod(MONTHS[0], p25=0.1, p50=0.2, p75=0.3, n=1),
        PeerPeriod(MONTHS[0], p50=0.2, p75=0.3),
        PeerPeriod(MONTHS[0], p25=0.1, p75=0.3),
        PeerPeriod(MONTHS[0], p25=0.1, p50=0.2),
        PeerPeriod(MONTHS[5], mean=0.1, std=0.1, n=9),
    ],
)
def test_a_month_without_comparable_peers_is_skipped(peer: PeerPeriod) -> None:
    timeline = [TimelinePoint(MONTHS[0], 0.9), TimelinePoint(MONTHS[1], 0.3), TimelinePoint(MONTHS[2], None)]
    good = [PeerPeriod(MONTHS[1], mean=0.1, std=0.1, n=2), PeerPeriod(MONTHS[2], mean=0.1, std=0.1, n=2)]
    found = inputs_of(Figures(0.1, timeline=timeline, peer_trends=[peer, *good]))
    assert found.aggregate_zscore == pytest.approx(2.0)
    assert found.max_abs_deviation == pytest.approx(2.0)


def test_peers_may_be_close_together() -> None:
    timeline = [TimelinePoint(MONTHS[0], 0.1002)]
    peers = [PeerPeriod(MONTHS[0], mean=0.1, std=0.0001)]
    found = inputs_of(Figures(0.1, timeline=timeline, peer_trends=peers))
    assert found.aggregate_zscore == pytest.approx(2.0)
    assert single_zscore(Figures(0.1002, 0.1, 0.0001)) == pytest.approx(2.0)


@pytest.mark.parametrize("peer_trends", [[], [PeerPeriod(MONTHS[0], mean=0.1, std=0.0)]])
@pytest.mark.parametrize("timeline", [[], [TimelinePoint(MONTHS[0], 0.2)]])
def test_the_single_zscore_where_no_month_can_be_compared(
    timeline: list[TimelinePoint], peer_trends: list[PeerPeriod]
) -> None:
    found = inputs_of(Figures(0.3, 0.1, 0.1, timeline=timeline, peer_trends=peer_trends))
    assert found == ClassificationInputs(aggregate_zscore=found.aggregate_zscore)
    assert found.aggregate_zscore == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("polarity", "target_range", "zscore"),
    [
        (LOWER, None, 2.0), (HIGHER, None, -2.0), (TARGET, None, 2.0), (TARGET, (0.0, 0.5), 0.0),
        (TARGET, (0.0, 0.2), 1.0), (TARGET, (0.15, 0.2), 0.5), (TARGET, (0.4, 0.5), -2.0), (LOWER, (0.0, 0.5), 2.0),
    ],
)  # fmt: skip
def test_the_single_zscore_is_turned(
    polarity: MetricPolarity, target_range: tuple[float, float] | None, zscore: float
) -> None:
    single = Figures(0.3, 0.1, 0.1, polarity=polarity, target_range=target_range)
    assert single_zscore(single) == pytest.approx(zscore)


def test_a_value_on_the_good_side_of_its_peers_is_turned_below_the_target_too() -> None:
    assert single_zscore(Figures(0.1, 0.3, 0.1, polarity=TARGET)) == pytest.approx(2.0)
    assert single_zscore(Figures(0.1, 0.3, 0.1, polarity=TARGET, target_range=(0.2, 0.4))) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("peer_mean", "peer_std"), [(None, 0.1), (0.1, None), (None, None), (0.1, 0.0), (-1e308, 1e-300)]
)
def test_without_peers_or_their_spread_there_is_no_zscore(peer_mean: float | None, peer_std: float | None) -> None:
    assert inputs_of(Figures(0.3, peer_mean, peer_std)) == ClassificationInputs()


def test_what_the_engine_computed_is_kept_with_its_gaps() -> None:
    for sent in (ClassificationInputs(slope_percentile=12.0), ClassificationInputs(1.0, 2.0, 3.0, 4.0, 5.0)):
        kept = Figures(
            0.3, 0.1, 0.1, polarity=HIGHER, timeline=figures().timeline, peer_trends=figures().peer_trends, inputs=sent
        )
        assert inputs_of(kept) == sent


def test_inputs_that_are_all_null_are_computed() -> None:
    empty = Figures(0.3, timeline=figures().timeline, peer_trends=figures().peer_trends, inputs=ClassificationInputs())
    assert inputs_of(empty) == inputs_of(figures())


def test_figures_beyond_a_float_leave_no_infinite_input() -> None:
    timeline = [TimelinePoint(month, 1e308) for month in MONTHS]
    peers = [PeerPeriod(month, mean=-1e308, std=1e-300) for month in MONTHS]
    assert inputs_of(Figures(0.1, timeline=timeline, peer_trends=peers)) == ClassificationInputs()


@pytest.mark.parametrize(
    ("polarity", "percentile", "turned"),
    [
        (LOWER, 90.0, 90.0), (HIGHER, 90.0, 10.0), (TARGET, 90.0, 80.0), (TARGET, 10.0, 80.0), (TARGET, 50.0, 0.0),
        (LOWER, None, None), (HIGHER, None, None), (TARGET, None, None),
    ],
)  # fmt: skip
def test_turning_a_percentile(polarity: MetricPolarity, percentile: float | None, turned: float | None) -> None:
    assert turned_percentile(percentile, polarity) == turned
