"""Pods are replaced and killed under load on a real cluster: nothing lost, nothing doubled, order kept."""

from collections.abc import Sequence

import pytest

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.load import GOOD, under_load
from tests.kubernetes.manifests import SERVICES

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
