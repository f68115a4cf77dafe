"""On a real cluster: manifests are accepted, the story passes, policies hold. `make kubernetes-test`."""

import asyncio
import json
from typing import Final

import pytest
import yaml

from deploy.kubernetes import rendering
from deploy.kubernetes.places import HERE, NAMESPACE, OVERLAYS
from deploy.kubernetes.rollout import RolloutError, kubectl
from tests.e2e import stories
from tests.kubernetes.cluster import Cluster
from tests.support.eventually import eventually

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_manifest_is_accepted(name: str) -> None:
    """Each by itself, by the API server with the operators' definitions; nothing is changed."""
    kubectl("apply", "-f", str(HERE / "base" / "namespace.yaml"), "--server-side", "--force-conflicts")
    refused = []
    for document in rendering.manifests(name):
        # A job that ran cannot be changed: as a new one.
        if document["kind"] == "Job":
            document["metadata"]["name"] += "-dry-run"
        try:
            kubectl(
                *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-"),
                stdin=yaml.safe_dump(document),
            )
        except RolloutError as error:
            refused.append(str(error))
    assert refused == []


def test_the_namespace_refuses_pods_with_rights(cluster: Cluster) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "rights", "namespace": NAMESPACE},
        "spec": {"containers": [{"name": "rights", "image": "quality-compass:0.1.0"}]},
    }
    with pytest.raises(RolloutError, match="violates PodSecurity"):
        kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))


@stories.each
async def test_the_story_passes_through_the_gateway(cluster: Cluster, story: stories.Story) -> None:
    await story(cluster)


PROBE: Final = """
import json, socket, sys
def reached(host, port):
    try:
        socket.create_connection((host, port), timeout=3).close()
        return True
    except OSError:
        return False
print(json.dumps([target for target in json.loads(sys.argv[1]) if reached(*target)]))
"""
TARGETS: Final = {
    "service": ("signals", 8101),
    "gateway": ("gateway", 80),
    "database": ("postgres-rw", 5432),
    "broker": ("kafka-kafka-bootstrap", 9092),
    "api": ("kubernetes.default", 443),
}
REACHED: Final = {
    "gateway": {"service"},
    "service": {"database", "broker"},
    "schema": {"database"},
    "topics": {"broker"},
    "engine": {"broker"},
    "stranger": set[str](),
}


@pytest.mark.parametrize("tier", REACHED)
async def test_who_may_talk_to_whom(cluster: Cluster, tier: str) -> None:
    async def reached() -> set[str]:
        said = await asyncio.to_thread(
            kubectl, "exec", pod, "-n", NAMESPACE, "--", "python", "-c", PROBE, json.dumps(list(TARGETS.values()))
        )
        return {name for name, target in TARGETS.items() if list(target) in json.loads(said)}

    with cluster.probe(tier) as pod:
        # Rules for a new pod take a moment.
        await eventually(reached, lambda seen: seen == REACHED[tier], seconds=60)
        assert await reached() == REACHED[tier]
