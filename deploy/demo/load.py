"""The load generator: any number of signals of different entities, about 1.4 KB each, without figures behind them.

The entities are the same for every seed and as many as asked for; the seed decides their values. So the same seed
published twice is a republication without changes, another seed one with changes, and another month a redetection.
"""

from collections.abc import Iterator
from itertools import islice, product
from math import erf, sqrt
from random import Random

from deploy.demo.figures import Facility, Measure
from deploy.demo.invented import METRICS, facilities
from deploy.demo.months import month_after, period
from deploy.demo.signals import Message

FACILITIES = 400
PERIODS = 12


def load(count: int, seed: int, last_month: int) -> Iterator[Message]:
    """`count` signals, detected after `last_month`; neighbours are of different facilities, as in real traffic."""
    random = Random(seed)  # noqa: S311 - figures, no secrets
    periods = [period(last_month - back) for back in reversed(range(PERIODS))]
    detected_at = month_after(last_month).isoformat()
    measures = [(metric.measure(line), metric.typical) for metric in METRICS for line in metric.service_lines]
    hospitals = _facilities()
    entities = ((unit, *of) for unit in range(1, count + 1) for of in product(measures, hospitals))
    for unit, (measure, typical), facility in islice(entities, count):
        yield _message(random, measure, facility, typical, f"U{unit:03}", periods, detected_at)


def _facilities() -> list[Facility]:
    known = facilities()
    return [
        Facility(f"98{number:04}", f"{hospital.name} {number // len(known) + 1}", hospital.system_name)
        for number in range(FACILITIES)
        for hospital in (known[number % len(known)],)
    ]


def _message(
    random: Random,
    measure: Measure,
    facility: Facility,
    typical: float,
    unit: str,
    periods: list[str],
    detected_at: str,
) -> Message:
    zscore = random.gauss(0.0, 1.0)
    peer_std = typical * 0.15
    value = round(max(0.0, typical + zscore * peer_std), 4)
    cases = random.randint(40, 900)
    timeline = [
        {"period": each, "value": round(value * (0.9 + 0.2 * random.random()), 4), "encounters": cases}
        for each in periods
    ]
    timeline[-1]["value"] = value
    return {
        "canonical_node_id": measure.canonical_node_id,
        "metric_id": measure.metric_id,
        "domain": measure.domain,
        "facility": facility.name,
        "facility_id": facility.facility_id,
        "system_name": facility.system_name,
        "service_line": measure.service_line,
        "description": f"{measure.name} at {facility.name} (unit {unit}) was {value:.4f}, peers {typical:.4f}.",
        "metric_value": value,
        "peer_mean": round(typical, 4),
        "peer_std": round(peer_std, 4),
        "percentile_rank": round(50.0 * (1.0 + erf(zscore / sqrt(2.0))), 2),
        "encounters": cases,
        "detected_at": detected_at,
        "polarity": measure.polarity,
        "period_count": PERIODS,
        "trend_direction": random.choice(("increasing", "decreasing", "stable")),
        "entity_dimensions": {"unit": unit},
        "groupby_label": "Unit",
        "group_value": unit,
        "simplified_inputs": {
            "aggregate_zscore": round(zscore, 4),
            "slope_percentile": round(random.uniform(0.0, 100.0), 2),
            "acceleration": round(random.gauss(0.0, 0.01), 4),
            "zscore_std": round(abs(random.gauss(0.6, 0.2)), 4),
            "max_abs_deviation": round(abs(zscore) + abs(random.gauss(0.8, 0.5)), 4),
        },
        "metric_trend_timeline": timeline,
    }
