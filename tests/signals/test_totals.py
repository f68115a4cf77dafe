"""Totals that are remembered, and those that are not."""

import re
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from services.signals import repository_totals
from services.signals.repository_filters import SignalFilters, Sort, conditions
from services.signals.service_totals import LargeTotals
from shared.events.topics import ENGINE_SIGNALS
from shared.events.vocabulary import AssignmentStatus, MagnitudeTier, SignalDomain, SignalType
from shared.pagination import COUNT_CAP
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest


@pytest.mark.parametrize(("total", "asked"), [(2 * COUNT_CAP, 1), (2 * COUNT_CAP - 1, 2), (0, 2), (None, 2)])
async def test_only_large_totals_are_remembered(monkeypatch: pytest.MonkeyPatch, total: int | None, asked: int) -> None:
    questions: list[SignalFilters] = []

    async def counted(_: Any, filters: SignalFilters) -> int | None:
        questions.append(filters)
        return total

    monkeypatch.setattr(repository_totals, "counted", counted)
    totals = LargeTotals()
    session: Any = None
    filters = SignalFilters(facility=["Hill Street, North"], dimensions={"unit": ["U001"]})
    assert await totals.known(session, filters) == total
    assert (
        await totals.known(session, SignalFilters(facility=["Hill Street, North"], dimensions={"unit": ["U001"]}))
        == total
    )
    assert len(questions) == asked
    await totals.known(session, SignalFilters(facility=["Hill Street", "North"], dimensions={"unit": ["U001"]}))
    assert len(questions) == asked + 1, "another filter is another question"


async def counted_in(service: ServiceUnderTest, facet: str, value: str, domain: str = "Safety") -> None:
    """Three signals, and counts that tell of many more."""
    signals = [engine_signal(canonical_node_id=f"node {number}", **_SEVERE) for number in range(3)]
    await service.consume("signals.ingest", *(message(ENGINE_SIGNALS, signal) for signal in signals))
    async with service.session_maker() as session, session.begin():
        await session.execute(
            text(
                "INSERT INTO option_counts (id, facet, value, domain, count)"
                " VALUES (gen_random_uuid(), :facet, :value, CAST(:domain AS signal_domain), 10001)"
            ),
            {"facet": facet, "value": value, "domain": domain},
        )


_SEVERE = {
    "facility": "Hill Street Hospital",
    "metric_id": "fallsRate",
    "simplified_signal_type": "critical_trajectory",
    "simplified_severity": 95,
}


@pytest.mark.parametrize(
    ("facet", "value", "query"),
    [
        ("facility", "Hill Street Hospital", "q=hill street"),
        ("metric_id", "fallsRate", "q=FALLS"),
        ("severity", "91", "min_severity=90"),
        ("severity", "91", "min_severity=90&domain=Safety&domain=Effectiveness"),
    ],
)
async def test_counts_tell_that_a_total_is_beyond_the_cap(
    service: ServiceUnderTest, facet: str, value: str, query: str
) -> None:
    await counted_in(service, facet, value)
    async with service.client("viewer") as client:
        capped = (await client.get(f"/api/signals?limit=1&{query}")).json()
        assert (capped["total_count"], capped["total_is_capped"]) == (COUNT_CAP, True)
        # What the counts do not know together is counted.
        for more in ("detected_from=2000-01-01T00:00:00Z", "include_history=true"):
            exact = (await client.get(f"/api/signals?limit=1&{query}&{more}")).json()
            assert (exact["total_count"], exact["total_is_capped"]) == (3, False)


async def test_a_band_that_begins_below_tells_nothing(service: ServiceUnderTest) -> None:
    await counted_in(service, "severity", "81")
    async with service.client("viewer") as client:
        exact = (await client.get("/api/signals?limit=1&min_severity=82")).json()
        assert (exact["total_count"], exact["total_is_capped"]) == (3, False)


async def test_a_band_of_another_domain_tells_nothing(service: ServiceUnderTest) -> None:
    await counted_in(service, "severity", "91", "Efficiency")
    async with service.client("viewer") as client:
        exact = (await client.get("/api/signals?limit=1&min_severity=90&domain=Safety&domain=Effectiveness")).json()
        assert (exact["total_count"], exact["total_is_capped"]) == (3, False)


_BY_SYSTEM = SignalFilters(system_name=["North"], service_line=["Cardiology"])
_BY_FACILITY = SignalFilters(facility=["Hill Street Hospital", "Elm Street Hospital"])


@pytest.mark.parametrize(
    "filters",
    [
        replace(_BY_SYSTEM, status=[AssignmentStatus.NEW], min_severity=60),
        replace(_BY_SYSTEM, service_line=[], min_severity=60),
        replace(_BY_SYSTEM, unassigned=True, metric_id=["losIndex"]),
        replace(_BY_SYSTEM, domain=[SignalDomain.SAFETY], signal_type=[SignalType.BASELINE]),
        replace(_BY_FACILITY, status=[AssignmentStatus.NEW], magnitude_tier=[MagnitudeTier.SEVERE]),
        replace(_BY_FACILITY, metric_id=["losIndex"], service_line=["Cardiology"]),
    ],
)
async def test_several_filters_are_counted_by_an_index_alone(service: ServiceUnderTest, filters: SignalFilters) -> None:
    """Each row that the table is asked for may be a page of its own: ten thousand of them took 0.4 s.

    An index is enough where it holds every column of the condition. Which one is taken is for the planner, which knows
    nothing of a table without rows.
    """
    wanted, rest = conditions(filters, Sort.DETECTED_AT)
    wanted.also(rest)
    asked = set(re.findall(r"\bs\.(\w+)", wanted.where))
    indexes = await service.rows(
        "SELECT indexdef FROM pg_indexes"
        " WHERE schemaname = current_schema() AND indexname LIKE 'ix_signals_counted_by_%'"
    )
    columns = [re.search(r"\((.+)\) WHERE is_current$", row["indexdef"]) for row in indexes]
    held = [{"is_current", *found[1].split(", ")} for found in columns if found]
    assert len(held) == 2
    assert any(asked <= names for names in held), asked
