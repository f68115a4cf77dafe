"""The demo engine publishes month after month, as an engine that watches for years would."""

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deploy.local.stack import LocalStack
from tests.e2e.api import api, count, query
from tests.support.eventually import eventually

REFERENCE = Path(__file__).parents[2].parent / "shared" / "data" / "nhs_ae_attendances_2016_2018.csv"
SHOWN = """
    SELECT event_type::text FROM activity.activity_events
    JOIN signals.signals ON signals.id = activity_events.signal_id WHERE signals.canonical_node_id LIKE $1
"""
STORED = "SELECT count(*) FROM signals.signals WHERE canonical_node_id LIKE $1"


async def publish(stack: LocalStack, *options: str) -> dict[str, Any]:
    """Run the demo engine; its summary."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.demo",
        "--json",
        *options,
        env=stack.service_environment("signals"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    summary: dict[str, Any] = json.loads(out)
    return summary


async def shown(stack: LocalStack, node: str) -> Counter[str]:
    """How often each feed type was shown for the engine's signals."""
    return Counter(row["event_type"] for row in await query(stack, SHOWN, node))


async def settled(stack: LocalStack, expected: int, node: str) -> None:
    """All stored, and nothing waits on the way to the feed."""
    await eventually(lambda: count(stack, STORED, node), lambda seen: seen >= expected, seconds=60)
    assert await count(stack, STORED, node) == expected
    await eventually(lambda: count(stack, "SELECT count(*) FROM signals.outbox"), lambda left: left == 0, seconds=60)
    behind = (
        "SELECT count(*) FROM signals.signals s WHERE canonical_node_id LIKE $1 AND NOT EXISTS "
        "(SELECT FROM activity.audit_log a WHERE a.source = '/services/signals' AND a.subject = s.id)"
    )
    await eventually(lambda: count(stack, behind, node), lambda left: left == 0, seconds=60)


async def one_current_each(stack: LocalStack, node: str, entities: int) -> None:
    """Every entity has exactly one current signal: its latest detection."""
    rows = await query(
        stack,
        "SELECT entity_id, count(*) FILTER (WHERE is_current) AS current, "
        "max(detected_at) = max(detected_at) FILTER (WHERE is_current) AS latest "
        "FROM signals.signals WHERE canonical_node_id LIKE $1 GROUP BY entity_id",
        node,
    )
    assert len(rows) == entities
    assert all(row["current"] == 1 and row["latest"] for row in rows)


async def follow(stack: LocalStack, node: str, months: list[str], options: list[str]) -> Counter[str]:
    """Publish these months, each of them twice, the second time without any effect; what the feed shows then."""
    total = 0
    for month in months:
        total += (await publish(stack, *options, "--as-of", month))["published"]
        await settled(stack, total, node)
        before = await shown(stack, node)
        await publish(stack, *options, "--as-of", month)
        await settled(stack, total, node)
        assert await shown(stack, node) == before
    return await shown(stack, node)


async def test_generated_months_get_better_and_worse(stack: LocalStack, tmp_path: Path) -> None:
    file = tmp_path / "months.csv"
    file.write_text(_figures())
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(_MAPPING)
    seen = await follow(
        stack, "node:months", ["2025-06", "2025-07", "2025-08"], ["--data", str(file), "--mapping", str(mapping)]
    )
    assert seen["new_signal"] == 12
    assert seen["regression"] > 0
    assert seen["improvement"] > 0
    await one_current_each(stack, "node:months", 12)
    early = await publish(stack, "--data", str(file), "--mapping", str(mapping), "--as-of", "2025-01")
    assert early["published"] == 0


@pytest.mark.reference_data
@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference data lies beside the repository, or not at all")
async def test_real_figures_month_after_month(stack: LocalStack) -> None:
    node = "nhs-england:%"
    seen = await follow(stack, node, ["2017-06", "2017-12", "2018-03"], ["--data", str(REFERENCE)])
    entities = await count(
        stack, "SELECT count(DISTINCT entity_id) FROM signals.signals WHERE canonical_node_id LIKE $1", node
    )
    assert seen["new_signal"] == entities
    assert seen["regression"] > 50
    assert seen["improvement"] > 50
    await one_current_each(stack, node, entities)
    admin = api(stack, "admin")
    await admin.login()
    metric = (
        await query(stack, "SELECT DISTINCT metric_id FROM signals.signals WHERE canonical_node_id LIKE $1", node)
    )[0]["metric_id"]
    assert (await admin.get("/api/signals", metric_id=metric))["total_count"] == entities


_MAPPING = """
[columns]
month = "month"
facility_id = "hospital"
facility = "hospital"
numerator = "late"
denominator = "all"

[measure]
metric_id = "lateShare"
name = "Share of late treatments"
domain = "Efficiency"
polarity = "lower_is_better"
service_line = "Emergency"
canonical_node_id = "node:months"
"""


def _figures() -> str:
    """Twelve hospitals over eight months: half of them get worse after June, half of them better."""
    rows = ["month,hospital,late,all"]
    for month in range(1, 9):
        for hospital in range(12):
            drift = (month - 6) * 8 * (1 if hospital % 2 else -1) if month > 6 else 0
            late = 100 + hospital * 5 + (month * hospital) % 7 + drift
            rows.append(f"2025-{month:02},H{hospital},{late},1000")
    return "\n".join(rows) + "\n"
