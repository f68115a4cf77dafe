"""CloudNativePG on a real cluster: the primary is killed under load, and the four schemas are served on."""

import asyncio
import json
import os
from collections.abc import Iterator
from time import monotonic
from typing import Any, Final

import pytest
import yaml

from deploy.kubernetes import rendering, secrets
from deploy.kubernetes.places import NAMESPACE
from deploy.kubernetes.rollout import kubectl, roll_out
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.load import Load, all_there
from tests.kubernetes.manifests import Manifest
from tests.support.eventually import eventually

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]

BESIDE: Final = f"{NAMESPACE}-failover"
"""Beside what is in the other namespace already, whose Kafka tells of another database."""


BUILTIN_LOCALES_SINCE: Final = 17
"""PostgreSQL's version; with an older image text is ordered by the C library's locale C."""


class Replicated(Cluster):
    """The dev overlay on production's PostgreSQL."""

    namespace = BESIDE
    psql = 'exec psql -X -q -v ON_ERROR_STOP=1 -d compass "$@"'

    @property
    def state(self) -> dict[str, Any]:
        """What the operator says of the instances."""
        status: dict[str, Any] = self.get("clusters.postgresql.cnpg.io", "postgres")["status"]
        return status

    @property
    def database(self) -> str:
        """The primary."""
        primary: str = self.state["currentPrimary"]
        return primary


def documents() -> list[Manifest]:
    """Everything of dev, but for the one PostgreSQL that of production, as small as one node needs it."""
    dev = [
        document
        for document in rendering.manifests("dev")
        if not (document["kind"] in ("StatefulSet", "Service") and document["metadata"]["name"].startswith("postgres"))
        and not (document["kind"] == "ServiceAccount" and document["metadata"]["name"] == "postgres")
    ]
    replicated = [
        document
        for document in rendering.manifests("production")
        if (document["kind"], document["metadata"]["name"])
        in (("Cluster", "postgres"), ("NetworkPolicy", "database-cluster"))
    ]
    (cluster,) = (document for document in replicated if document["kind"] == "Cluster")
    _shrink(cluster["spec"])
    return [_moved(document) for document in (*dev, *replicated)]


def _shrink(spec: dict[str, Any]) -> None:
    """One node with one disk, and nowhere to put backups: all else is as in production, the image too unless given."""
    spec["imageName"] = os.environ.get("COMPASS_KUBERNETES_POSTGRES_IMAGE", spec["imageName"])
    spec["storage"] = spec["walStorage"] = {"size": "2Gi"}
    spec["resources"] = {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
    spec["postgresql"]["parameters"] |= {"shared_buffers": "128MB", "effective_cache_size": "512MB"}
    spec["affinity"]["podAntiAffinityType"] = "preferred"
    if int(spec["imageName"].rpartition(":")[2].partition(".")[0]) < BUILTIN_LOCALES_SINCE:
        for option in ("localeProvider", "builtinLocale"):
            del spec["bootstrap"]["initdb"][option]
    del spec["backup"]


def _moved(document: Manifest) -> Manifest:
    """The same in the other namespace; Kafka says by its full name where it is."""
    metadata = document["metadata"]
    metadata["name" if document["kind"] == "Namespace" else "namespace"] = BESIDE
    moved: Manifest = json.loads(json.dumps(document).replace(f".{NAMESPACE}.svc", f".{BESIDE}.svc"))
    return moved


@pytest.fixture(scope="module")
def replicated() -> Iterator[Replicated]:
    """It, brought up where it is not, and gone afterwards."""
    try:
        if BESIDE not in kubectl("get", "deployments", "-A", "-l", "app.kubernetes.io/name=gateway"):
            bring_up()
        yield Replicated()
    finally:
        kubectl("delete", "namespace", BESIDE, "--ignore-not-found", "--wait=false")


def bring_up() -> None:
    """All of it, with secrets of its own; the superuser's is made by the operator."""
    everything = documents()
    (namespace,) = (document for document in everything if document["kind"] == "Namespace")
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump(namespace))
    made = [_moved(secret) for secret in secrets.make() if secret["metadata"]["name"] != "postgres-superuser"]
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(made))
    roll_out(everything)


async def test_a_killed_primary_loses_nothing_and_is_replaced(replicated: Replicated) -> None:
    """Signals, and comments that were acknowledged, are there once; nobody restarts anything."""
    killed, instances = replicated.database, replicated.state["instances"]

    async def primary() -> str:
        state = await asyncio.to_thread(lambda: replicated.state)
        return str(state["currentPrimary"])

    async def ready() -> int:
        state = await asyncio.to_thread(lambda: replicated.state)
        return int(state.get("readyInstances", 0))

    async def restarts() -> int:
        listed = json.loads(
            await asyncio.to_thread(
                replicated.kubectl, "get", "pods", "-l", "quality-compass/tier in (service, gateway)", "-o", "json"
            )
        )
        return sum(status["restartCount"] for pod in listed["items"] for status in pod["status"]["containerStatuses"])

    before = await restarts()
    load = Load(replicated)
    async with load.running():
        replicated.kubectl("delete", "pod", killed, "--grace-period=0", "--force")
        began = monotonic()
        await eventually(primary, lambda name: name != killed, seconds=120, every=0.2)
        named = monotonic() - began
        await load.goes_on()
        served = monotonic() - began
    # What the report is made of.
    print(f"\nthe next primary named after {named:.1f} s, all served after {served:.1f} s: {load}")  # noqa: T201
    await all_there(replicated, load)
    assert not any(" 500 " in answer for answer in load.disappointed), load.disappointed
    await eventually(ready, lambda count: count == instances, seconds=180, every=1)
    assert await restarts() == before
