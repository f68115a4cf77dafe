"""A leader's year: months are published one after the other, and one signal is worked from its discovery to its return.

A rule assigns it, its owner works on it and begins an intervention, later months show what came of that, one person
resolves it and another closes it, and months later it is back as a new signal that is linked to the old one.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Any
from uuid import uuid4

import pytest

from deploy.local.stack import LocalStack
from tests.e2e.api import Api, api, id_of
from tests.support.eventually import eventually

REFERENCE = Path(__file__).parents[2].parent / "shared" / "data" / "nhs_ae_attendances_2016_2018.csv"


class Engine:
    """The demo engine with figures of its own: a metric and nodes that no other test knows."""

    def __init__(self, stack: LocalStack, folder: Path, options: Sequence[str], metric: str) -> None:
        self.environment = stack.service_environment("signals")
        self.folder = folder
        self.options = options
        self.metric = metric
        self.mark = uuid4().hex[:8]
        self.published: dict[str, dict[str, dict[str, Any]]] = {}
        """By month and entity, as they went out."""

    @property
    def metric_id(self) -> str:
        """What the metric is called here."""
        return f"{self.metric}-{self.mark}"

    async def publish(self, month: str) -> None:
        """What was known after this month."""
        computed, out = self.folder / f"{month}.computed.jsonl", self.folder / f"{month}.jsonl"
        await self._run(*self.options, "--as-of", month, "--output", str(computed))
        signals = [json.loads(line) for line in computed.read_text().splitlines()]
        mine = [
            signal | {"metric_id": self.metric_id, "canonical_node_id": f"{self.mark}:{signal['canonical_node_id']}"}
            for signal in signals
            if signal["metric_id"] == self.metric
        ]
        out.write_text("".join(json.dumps(signal) + "\n" for signal in mine))
        await self._run("--data", str(out))
        self.published[month] = {
            json.dumps([signal["canonical_node_id"], signal["facility_id"], signal.get("entity_dimensions")]): signal
            for signal in mine
        }

    async def _run(self, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "deploy.demo",
            *arguments,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()


@dataclass
class Story:
    """The people, and the entity that the story is about."""

    engine: Engine
    admin: Api
    owner: Api
    colleague: Api
    entity: str = ""

    async def publish(self, month: str) -> str:
        """Publish a month; the entity's signal of it, once the workflow works on that."""
        await self.engine.publish(month)
        signal = str(id_of(self.engine.published[month][self.entity]))
        await eventually(
            lambda: self.owner.client.get(f"/api/signals/{signal}/assignment"),
            lambda answer: answer.status_code == 200 and answer.json()["superseded_by"] is None,
            seconds=60,
        )
        return signal

    async def begin(self, month: str) -> str:
        """Publish the first month with a rule on; the worst signal that the rule has assigned."""
        owner = await self.owner.me()
        rule = {
            "name": "The worst of it",
            "conditions": {"metric_id": [self.engine.metric_id], "minimum_severity": 60},
            "assignee_id": owner["id"],
            "role_type": "nursing_leadership",
        }
        made = await self.admin.call("POST", "/api/ownership-rules", 201, json=rule)
        assert made["position"] >= 1
        await self.engine.publish(month)
        first = self.engine.published[month]
        worst = await eventually(
            lambda: self.owner.get(
                "/api/signals", metric_id=self.engine.metric_id, min_severity=60, sort_by="priority", limit=1
            ),
            lambda page: page["signals"] and page["signals"][0]["workflow_status"] == "assigned",
            seconds=60,
        )
        signal: str = worst["signals"][0]["id"]
        (self.entity,) = (entity for entity, found in first.items() if str(id_of(found)) == signal)
        return signal

    def values(self, months: Sequence[str]) -> list[float]:
        """What was measured, as the engine published it."""
        return [round(self.engine.published[month][self.entity]["metric_value"], 4) for month in months]


@pytest.mark.parametrize(
    ("options", "metric", "months"),
    [
        pytest.param(
            ["--seed", "7"],
            "lengthOfStayDays",
            ["2024-06", "2024-07", "2024-08", "2024-09", "2024-10", "2025-02"],
            id="generated",
        ),
        pytest.param(
            ["--data", str(REFERENCE)],
            "aeFourHourBreachRate",
            ["2017-03", "2017-04", "2017-05", "2017-06", "2017-07", "2017-12"],
            id="real",
            marks=[
                pytest.mark.reference_data,
                pytest.mark.skipif(not REFERENCE.exists(), reason="the reference data lies beside the repository"),
            ],
        ),
    ],
)
async def test_a_signal_from_its_discovery_to_its_return(
    stack: LocalStack, tmp_path: Path, options: list[str], metric: str, months: list[str]
) -> None:
    admin, owner, colleague = (api(stack, role) for role in ("admin", "nursing", "clinical"))
    for person in (admin, owner, colleague):
        await person.login()
    story = Story(Engine(stack, tmp_path, options, metric), admin, owner, colleague)

    # Found, assigned by the rule; found again before anybody began: the assignment goes along.
    first = await story.begin(months[0])
    second = await story.publish(months[1])
    shown = await owner.get(f"/api/signals/{second}/assignment")
    assert (shown["status"], shown["assignee_id"]) == ("assigned", (await owner.me())["id"])
    assert (await owner.get(f"/api/signals/{first}/assignment"))["superseded_by"] == second

    # Worked on, and something is done about it.
    await owner.call("PATCH", f"/api/signals/{second}/status", json={"status": "in_progress"})
    await colleague.call("POST", f"/api/signals/{second}/comments", 201, json={"text": "Look at the weekends."})
    seen = await owner.get(f"/api/signals/{second}")
    started_at = datetime.fromisoformat(seen["detected_at"]) + timedelta(days=5)
    what = {"kind": "protocol_change", "title": "Rounds at the weekend", "started_at": started_at.isoformat()}
    made = await owner.call(
        "POST", f"/api/signals/{second}/interventions", 201, json=what | {"before_days": 90, "after_days": 80}
    )
    assert made["so_far"]["verdict"] == "not_enough_data"

    # Two more months lie within the window; the third reaches its end, and the outcome is there by itself.
    third = await story.publish(months[2])
    fourth = await story.publish(months[3])
    (waiting,) = (await owner.get(f"/api/signals/{fourth}/interventions"))["interventions"]
    assert (waiting["outcome"], waiting["so_far"]["after"]["detections"]) == (None, 2)
    fifth = await story.publish(months[4])
    page = await eventually(
        lambda: colleague.get(f"/api/signals/{fifth}/interventions"),
        lambda page: page["interventions"][0]["outcome"] is not None,
        seconds=60,
    )
    outcome = page["interventions"][0]["outcome"]
    before, after = story.values(months[:2]), story.values(months[2:4])
    assert (outcome["before"]["detections"], outcome["after"]["detections"]) == (2, 2)
    assert outcome["before"]["mean"] == pytest.approx(fmean(before), abs=1e-4)
    assert outcome["after"]["mean"] == pytest.approx(fmean(after), abs=1e-4)
    change = (fmean(after) - fmean(before)) / fmean(before)
    assert outcome["verdict"] == ("unchanged" if abs(change) <= 0.05 else "worsened" if change > 0 else "improved")

    # Resolved by one, closed by another.
    resolution = {
        "status": "resolved",
        "resolution_notes": "Rounds at the weekend stay.",
        "resolution_reason": "improved",
    }
    await owner.call("PATCH", f"/api/signals/{fifth}/status", json=resolution)
    refused = await owner.call("PATCH", f"/api/signals/{fifth}/status", 403, json={"status": "closed"})
    assert refused["code"] == "own_resolution"
    await colleague.call("PATCH", f"/api/signals/{fifth}/status", json={"status": "closed"})

    # Months later it is back: a new signal, linked to the one that was closed.
    last = await story.publish(months[5])
    back = await colleague.get(f"/api/signals/{last}/assignment")
    assert back["reopens"]["signal_id"] == fifth
    assert back["superseded_by"] is None
    assert back["resolved_by"] is None

    await _told_in_order(story, [first, second, third, fourth, fifth, last])
    assert [line["kind"] for line in (await owner.get(f"/api/signals/{last}/assignment/history"))["history"]][:9] == [
        "assigned",
        "carried_over",
        "moved",
        *["carried_over"] * 3,
        "moved",
        "moved",
        *(["assigned"] if back["status"] == "assigned" else []),
    ]


async def _told_in_order(story: Story, chain: list[str]) -> None:
    """The feed of the chain, without what the engine itself says of each month."""
    names = {"owner": (await story.owner.me())["name"], "colleague": (await story.colleague.me())["name"]}

    async def told() -> list[tuple[str, str | None]]:
        events = []
        for signal in chain:
            page = await story.owner.get("/api/feed", signal_id=signal, limit=100)
            events += page["events"]
        events.sort(key=lambda event: datetime.fromisoformat(event["created_at"]))
        return [
            (event["event_type"], event["user"]["name"] if event["user"] else None)
            for event in events
            if event["event_type"] not in ("regression", "improvement")
        ]

    expected = [
        ("new_signal", None),
        ("assignment", None),
        ("assignment", None),
        ("status_change", names["owner"]),
        ("comment", names["colleague"]),
        ("intervention_activated", names["owner"]),
        ("assignment", None),
        ("assignment", None),
        ("assignment", None),
        ("intervention_outcome", None),
        ("status_change", names["owner"]),
        ("status_change", names["colleague"]),
        ("new_signal", None),
    ]
    back = await story.owner.get(f"/api/signals/{chain[-1]}/assignment")
    if back["status"] == "assigned":
        expected.append(("assignment", None))
    assert await eventually(told, lambda seen: len(seen) >= len(expected)) == expected
