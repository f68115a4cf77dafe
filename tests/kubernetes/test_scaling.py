"""KEDA on a real cluster: more instances of the activity service when it falls behind, fewer when it has caught up."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final
from uuid import uuid4

import pytest
import yaml

from deploy.kubernetes import rendering
from deploy.kubernetes.places import NAMESPACE
from deploy.kubernetes.rollout import RolloutError, kubectl
from tests.kubernetes.cluster import Cluster
from tests.support.eventually import eventually
from tests.support.factories import engine_signal

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

SIGNALS = 2000


@contextmanager
def scaled_object() -> Iterator[dict[str, Any]]:
    """That of production, with a threshold and a patience for a test; then gone, and two instances again."""
    (scaled,) = [
        document
        for document in rendering.manifests("production")
        if document["kind"] == "ScaledObject" and document["metadata"]["name"] == "activity"
    ]
    for trigger in scaled["spec"]["triggers"]:
        trigger["metadata"]["lagThreshold"] = "200"
    behavior = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    behavior["scaleUp"]["stabilizationWindowSeconds"] = 0
    behavior["scaleDown"] = {
        "stabilizationWindowSeconds": 15,
        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}],
    }
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump(scaled))
    try:
        yield scaled
    finally:
        kubectl("delete", "scaledobject", "activity", "-n", NAMESPACE, "--wait")
        kubectl("scale", "deployment/activity", "-n", NAMESPACE, "--replicas=2")


_LOCK: Final = """
    SET application_name = :'mark';
    BEGIN;
    LOCK TABLE activity.audit_log;
    SELECT pg_sleep(300);
"""
_UNLOCK: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :'mark'"
_RECORDED: Final = """
    SELECT count(*) FROM activity.audit_log WHERE source = '/services/signals'
    AND subject IN (SELECT id FROM signals.signals WHERE canonical_node_id = :'node')
"""


@asynccontextmanager
async def nothing_is_recorded(cluster: Cluster) -> AsyncIterator[None]:
    """The audit log is locked: what comes for it waits in Kafka."""
    mark = f"lock-{uuid4().hex[:8]}"
    locking = asyncio.create_task(asyncio.to_thread(_hold, cluster, mark))
    try:
        yield
    finally:
        await asyncio.to_thread(cluster.query, _UNLOCK, mark=mark)
        await locking


def _hold(cluster: Cluster, mark: str) -> None:
    with pytest.raises(RolloutError, match="terminating connection"):
        cluster.query(_LOCK, mark=mark)


async def test_activity_is_scaled_up_on_lag_and_down_again(cluster: Cluster) -> None:
    async def wanted() -> int:
        return int((await asyncio.to_thread(cluster.get, "deployment", "activity"))["spec"]["replicas"])

    node = f"node:lag-{uuid4().hex[:8]}"
    with scaled_object() as scaled:
        kubectl("wait", "--for=condition=Ready", "scaledobject/activity", "-n", NAMESPACE, "--timeout=120s")
        async with nothing_is_recorded(cluster):
            await cluster.send(
                engine_signal(canonical_node_id=node, facility=f"Lag {number}", facility_id=f"G{number}")
                for number in range(SIGNALS)
            )
            most = await eventually(wanted, lambda seen: seen > scaled["spec"]["minReplicaCount"], seconds=200, every=1)
            assert most <= scaled["spec"]["maxReplicaCount"]
        await eventually(wanted, lambda seen: seen == scaled["spec"]["minReplicaCount"], seconds=240, every=1)
    assert cluster.count(_RECORDED, node=node) == SIGNALS
