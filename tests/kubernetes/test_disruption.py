"""Pods are replaced and killed under load on a real cluster: nothing lost, nothing doubled, order kept."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
import pytest

from tests.e2e.api import Api, api
from tests.kubernetes.cluster import Cluster, publish
from tests.kubernetes.manifests import SERVICES
from tests.support.eventually import eventually
from tests.support.factories import engine_signal

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

BATCH = 10
PAGES = ("/api/signals?limit=5", "/api/feed?limit=5", "/api/auth/me", "/api/assignments?limit=5")


class Load:
    """An engine that publishes and a person who reads, until told to stop."""

    def __init__(self, cluster: Cluster) -> None:
        self.node = f"node:load-{uuid4().hex[:8]}"
        self.published = 0
        self.answers: Counter[str] = Counter()
        self._cluster = cluster
        self._stopping = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """From the first signal and the first answer until all are through."""
        person = api(self._cluster, "clinical")
        await person.login()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish())
            tasks.create_task(self._read(person))
            try:
                await eventually(self._began)
                yield
            finally:
                self._stopping.set()

    async def _began(self) -> bool:
        return self.published > 0 and self.answers.total() > 0

    async def _publish(self) -> None:
        async with self._cluster.engine() as producer:
            while not self._stopping.is_set():
                numbers = range(self.published, self.published + BATCH)
                await publish(
                    producer,
                    [
                        engine_signal(canonical_node_id=self.node, facility=f"Load {number}", facility_id=f"L{number}")
                        for number in numbers
                    ],
                )
                self.published += BATCH
                await self._pause(0.1)

    async def _read(self, person: Api) -> None:
        while not self._stopping.is_set():
            for page in PAGES:
                try:
                    answer = await person.client.get(page)
                except httpx.TransportError as error:
                    self.answers[f"{page.partition('?')[0]} {type(error).__name__}"] += 1
                else:
                    good = answer.status_code == 200
                    self.answers["ok" if good else f"{page.partition('?')[0]} {answer.status_code} {answer.text}"] += 1
            await self._pause(0.05)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return


_OWN = "(SELECT id FROM signals.signals WHERE canonical_node_id = :'node')"
_AUDITED = f"SELECT count(*) FROM activity.audit_log WHERE source = '/services/signals' AND subject IN {_OWN}"  # noqa: S608
_SHOWN = f"""
    SELECT event_type, count(*), count(DISTINCT signal_id) FROM activity.activity_events
    WHERE signal_id IN {_OWN} GROUP BY event_type
"""  # noqa: S608
_OUT_OF_ORDER = f"""
    SELECT subject FROM (
        SELECT subject, sequence, row_number() OVER (PARTITION BY source, subject ORDER BY position) AS place
        FROM activity.audit_log WHERE subject IN {_OWN}
    ) AS numbered WHERE sequence <> place
"""  # noqa: S608


async def all_there(cluster: Cluster, load: Load) -> None:
    """Every signal stored once, told of once, numbered from one without a gap, in order."""

    async def audited() -> int:
        return await asyncio.to_thread(cluster.count, _AUDITED, node=load.node)

    await eventually(audited, lambda seen: seen >= load.published, seconds=120, every=1)
    assert await audited() == load.published
    stored = "SELECT count(*) FROM signals.signals WHERE canonical_node_id = :'node'"
    assert cluster.count(stored, node=load.node) == load.published
    assert cluster.query(_SHOWN, node=load.node) == [f"new_signal|{load.published}|{load.published}"]
    assert cluster.query(_OUT_OF_ORDER, node=load.node) == []
    assert load.published > BATCH


@pytest.mark.parametrize("name", [*SERVICES, "gateway"])
async def test_a_rolling_restart_under_load_is_not_noticed(cluster: Cluster, name: str) -> None:
    load = await _disturbed(cluster, name, cluster.restart)
    assert set(load.answers) == {"ok"}


@pytest.mark.parametrize("name", [*SERVICES, "gateway"])
async def test_a_killed_pod_under_load_loses_nothing(cluster: Cluster, name: str) -> None:
    """What it had in hand may be answered 503, or by nothing where it is the gateway, and asked for again."""
    load = await _disturbed(cluster, name, cluster.kill)
    failed = load.answers.total() - load.answers["ok"]
    assert failed < load.answers["ok"], load.answers
    assert not any(" 500 " in answer for answer in load.answers), load.answers


async def _disturbed(cluster: Cluster, name: str, disturb: Callable[[str], Awaitable[None]]) -> Load:
    load = Load(cluster)
    async with load.running():
        await disturb(name)
    print(f"\n{name}: {load.published} signals, answers {dict(load.answers)}")  # noqa: T201 - what the report is made of
    await all_there(cluster, load)
    return load
