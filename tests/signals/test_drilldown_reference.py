"""Drilling down in real figures of NHS England: from an organisation to its departments and back."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from deploy.demo.outgoing import from_csv
from shared.events.topics import ENGINE_SIGNALS
from tests.support.factories import message
from tests.support.service import ServiceUnderTest

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "nhs_ae_attendances_2016_2018.csv"

pytestmark = [
    pytest.mark.reference_data,
    pytest.mark.skipif(not DATA.exists(), reason="the reference data is not there"),
]


async def test_every_organisation_and_its_departments(service: ServiceUnderTest) -> None:
    """Each total has its departments as children, each of them its total, and the contributions add up."""
    batch = from_csv(DATA, None, None)
    await service.consume("signals.ingest", *(message(ENGINE_SIGNALS, sent.value) for sent in batch.messages))
    stored = await service.rows(
        "SELECT id, facility_id, entity_dimensions AS dimensions, encounters, metric_value, peer_mean FROM signals"
    )
    assert len(stored) == batch.total
    totals = {row["facility_id"]: row for row in stored if not row["dimensions"]}
    departments: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in stored:
        if row["dimensions"]:
            departments[row["facility_id"]].append(row)
    assert len(totals) == 116

    async with service.client("viewer") as client:

        async def get(row: dict[str, Any], what: str) -> dict[str, Any]:
            answer = await client.get(f"/api/signals/{row['id']}/{what}")
            assert answer.status_code == 200, answer.text
            body: dict[str, Any] = answer.json()
            return body

        for facility, total in totals.items():
            own = departments[facility]
            children = (await get(total, "children"))["signals"]
            assert {child["id"] for child in children} == {str(row["id"]) for row in own}
            assert (await get(total, "parent"))["signal"] is None
            for row in own:
                assert (await get(row, "parent"))["signal"]["id"] == str(total["id"])
                assert (await get(row, "children"))["signals"] == []

            parts = await get(total, "contributions")
            encounters = sum(row["encounters"] for row in own)
            shares = {
                str(row["id"]): row["encounters"] / encounters * float(row["metric_value"] - total["peer_mean"])
                for row in own
            }
            assert parts["excess"] == pytest.approx(float(total["metric_value"] - total["peer_mean"]), abs=1e-9)
            assert {part["signal_id"]: part["contribution"] for part in parts["contributions"]} == pytest.approx(
                shares, abs=1e-4
            )
            added = sum(part["contribution"] for part in parts["contributions"]) + parts["unexplained"]
            assert added == pytest.approx(parts["excess"], abs=1e-9)

        alone = next(rows[0] for facility, rows in departments.items() if facility not in totals)
        assert (await get(alone, "parent"))["signal"] is None
