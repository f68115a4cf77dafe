"""Totals that are remembered, and those that are not."""

from typing import Any

import pytest

from services.signals import repository_totals
from services.signals.repository_filters import SignalFilters
from services.signals.service_totals import LargeTotals
from shared.pagination import COUNT_CAP


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
