"""Pods are replaced and killed under load on a real cluster: nothing lost, nothing doubled, order kept."""

import asyncio
from collections.abc import Sequence
from time import monotonic

import pytest

from deploy.kubernetes.rollout import RolloutError
from tests.e2e.api import api
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.load import GOOD, PAGES, under_load
from tests.kubernetes.manifests import SERVICES
from tests.support.eventually import eventually

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]


@pytest.mark.parametrize("names", [SERVICES, ("gateway",)], ids=["services", "gateway"])
async def test_a_rolling_restart_under_load_is_not_noticed(cluster: Cluster, names: Sequence[str]) -> None:
    """All services at once, as a release does."""
    load = await under_load(cluster, cluster.restart, *names)
    assert load.disappointed == {}


@pytest.mark.parametrize("name", SERVICES)
async def test_a_killed_pod_under_load_is_not_noticed_by_who_reads(cluster: Cluster, name: str) -> None:
    """A comment that the pod had in hand may be answered 503; it is written once all the same."""
    load = await under_load(cluster, cluster.kill, name)
    assert all(answer.startswith("POST") and " 503 " in answer for answer in load.disappointed), load.disappointed
    assert sum(load.disappointed.values()) < 5


async def test_a_killed_pod_of_the_gateway_under_load_loses_nothing(cluster: Cluster) -> None:
    """Its connections break, and are made anew by who has them."""
    load = await under_load(cluster, cluster.kill, "gateway")
    assert all(answer.endswith("Error") for answer in load.disappointed), load.disappointed
    assert sum(load.disappointed.values()) < load.answers[GOOD] / 10, load.disappointed


async def test_what_is_stored_is_read_while_kafka_is_away(cluster: Cluster) -> None:
    """Also after the patience of the probe that takes pods out of the balance."""

    async def works() -> bool:
        try:
            for name in SERVICES:
                ready = ("exec", f"deployment/{name}", "--", "python", "-m", "deploy.container", "ready")
                await asyncio.to_thread(cluster.kubectl, *ready)
        except RolloutError:
            return False
        return True

    async def read() -> bool:
        for page in PAGES:
            await person.get(page)
        return monotonic() > enough

    person = api(cluster, "clinical")
    await person.login()
    (container,) = cluster.get("deployment", "activity")["spec"]["template"]["spec"]["containers"]
    patience: int = container["readinessProbe"]["periodSeconds"] * container["readinessProbe"]["failureThreshold"]
    cluster.kubectl("scale", "statefulset/kafka", "--replicas=0")
    try:
        await eventually(works, lambda at_work: not at_work, seconds=120, every=1)
        enough = monotonic() + 1.5 * patience
        await eventually(read, seconds=3 * patience, every=0.5)
        assert all(ready for name in SERVICES for ready in cluster.pods(name).values())
    finally:
        cluster.kubectl("scale", "statefulset/kafka", "--replicas=1")
    await eventually(works, seconds=180, every=1)
