"""The demo engine on real figures of NHS England, against counts and figures computed here in another way."""

import csv
from collections import Counter, defaultdict
from pathlib import Path

import msgspec
import numpy as np
import pytest

from deploy.demo.months import month_from_text, period
from deploy.demo.outgoing import from_csv
from services.signals.classification import ClassificationSettings, classify
from shared.events.engine import EngineSignal
from tests.deploy.test_demo_signals import figures_of

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "nhs_ae_attendances_2016_2018.csv"

pytestmark = [
    pytest.mark.reference_data,
    pytest.mark.skipif(not DATA.exists(), reason="the reference data is not there"),
]

Rates = dict[tuple[str, str], dict[str, tuple[int, int]]]
Signals = dict[tuple[str, str], EngineSignal]


@pytest.fixture(scope="module")
def figures() -> Rates:
    """(attendances, breaches) by organisation and department and month, `total` added."""
    found: Rates = defaultdict(dict)
    with DATA.open(newline="") as file:
        for row in csv.DictReader(file):
            cases = int(row["attendances"]), int(row["breaches"])
            found[row["org_code"], row["type"]][row["period"]] = cases
            before = found[row["org_code"], "total"].get(row["period"], (0, 0))
            found[row["org_code"], "total"][row["period"]] = before[0] + cases[0], before[1] + cases[1]
    return found


def departments_of(figures: Rates, last: str) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for (organisation, department), months in figures.items():
        if department != "total" and min(months) <= last:
            found[organisation].add(department)
    return {organisation: frozenset(departments) for organisation, departments in found.items()}


def published(last: str) -> tuple[Signals, Counter[str]]:
    batch = from_csv(DATA, None, month_from_text(last))
    signals: Signals = {}
    for message in batch.messages:
        signal = msgspec.json.decode(message.value, type=EngineSignal)
        assert signal.facility_id is not None
        signals[signal.facility_id, (signal.entity_dimensions or {}).get("department", "total")] = signal
    assert len(signals) == batch.total
    return signals, batch.left_out


def test_the_file_is_the_one_that_is_expected(figures: Rates) -> None:
    pairs = {key: months for key, months in figures.items() if key[1] != "total"}
    assert sum(map(len, pairs.values())) == 8393
    assert len({organisation for organisation, _ in pairs}) == 271
    assert len(pairs) == 417
    assert sum(len(months) >= 6 for months in pairs.values()) == 387


def test_the_whole_file() -> None:
    signals, left_out = published("2018-03")
    assert Counter(department for _, department in signals) == {"1": 137, "2": 30, "other": 200, "total": 116}
    assert left_out == {
        "total of a single part": 153,
        "no usable figure in the last month": 47,
        "fewer than 3 usable months": 5,
    }
    # Every pair of organisation and department, and every organisation's total, is either published or left out.
    assert len(signals) + left_out.total() == 417 + 271


@pytest.mark.parametrize("last", ["2016-05", "2016-06", "2016-11", "2017-06", "2018-03"])
def test_who_is_published_as_of_a_month(figures: Rates, last: str) -> None:
    departments = departments_of(figures, last)
    expected = set()
    for (organisation, department), months in figures.items():
        usable = [month for month, (cases, _) in months.items() if month <= last and cases >= 20]
        single = department == "total" and len(departments.get(organisation, ())) < 2
        if last in usable and len(usable) >= 3 and not single:
            expected.add((organisation, department))
    signals, _ = published(last)
    assert set(signals) == expected
    assert bool(signals) is (last > "2016-05")


@pytest.mark.parametrize("last", ["2017-06", "2018-03"])
def test_figures_of_every_signal(figures: Rates, last: str) -> None:
    departments = departments_of(figures, last)
    signals, _ = published(last)
    for (organisation, department), signal in signals.items():
        peers = [
            months
            for (other, of), months in figures.items()
            if of == department
            and other in departments
            and (department != "total" or departments[other] == departments[organisation])
        ]
        mine = figures[organisation, department]
        months = sorted(month for month, (cases, _) in mine.items() if month <= last and cases >= 20)
        assert signal.metric_trend_timeline is not None
        assert [point.period for point in signal.metric_trend_timeline] == months
        assert signal.period_count == len(months)
        assert signal.encounters == mine[last][0]
        zscores = []
        for month in months:
            rates = [rows[month][1] / rows[month][0] for rows in peers if month in rows and rows[month][0] >= 20]
            rate = mine[month][1] / mine[month][0]
            if len(rates) > 1 and max(rates) > min(rates):
                zscores.append((rate - np.mean(rates)) / np.std(rates, ddof=1))
            if month == last:
                assert signal.metric_value == pytest.approx(rate, abs=1e-6)
                assert signal.peer_mean == pytest.approx(np.mean(rates), abs=1e-6)
                below = sum(other < rate for other in rates) + sum(other == rate for other in rates) / 2
                assert signal.percentile_rank == pytest.approx(100 * below / len(rates), abs=1e-5)
        assert signal.simplified_inputs is not None
        if zscores:
            assert signal.simplified_inputs.aggregate_zscore == pytest.approx(np.mean(zscores))
            assert signal.simplified_inputs.max_abs_deviation == pytest.approx(np.max(np.abs(zscores)))


def test_month_after_month_every_signal_is_redetected_and_some_move() -> None:
    previous: dict[tuple[str, str], int] = {}
    moves: Counter[str] = Counter()
    for month in range(month_from_text("2017-10"), month_from_text("2018-03") + 1):
        signals, _ = published(period(month))
        severities = {}
        for key, signal in signals.items():
            severity = classify(figures_of(signal), ClassificationSettings()).simplified_severity
            severities[key] = severity
            if key in previous:
                change = severity - previous[key]
                moves["regression" if change >= 5 else "improvement" if change <= -5 else "none"] += 1
        previous = severities
    assert all(moves[move] > 20 for move in ("regression", "improvement", "none"))
