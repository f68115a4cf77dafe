"""Fixtures: every overlay, rendered once; and a cluster."""

import pytest
import yaml

from deploy.kubernetes import rendering, secrets
from deploy.kubernetes.places import HERE, NAMESPACE, OVERLAYS
from deploy.kubernetes.rollout import deploy, kubectl
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.manifests import Overlay

pytest.register_assert_rewrite("tests.e2e.api", "tests.e2e.stories")


def rendered(name: str) -> Overlay:
    """An overlay; skips the test, with one line, where nothing can render it."""
    try:
        return Overlay(name, rendering.manifests(name))
    except rendering.NoRendererError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> Overlay:
    """Each overlay."""
    return rendered(request.param)


@pytest.fixture(scope="session")
def production() -> Overlay:
    """The one for production."""
    return rendered("production")


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The dev overlay on the cluster that kubectl's configuration names; brought up where it is not, and left there."""
    kubectl("apply", "-f", str(HERE / "base" / "namespace.yaml"), "--server-side", "--force-conflicts")
    if "auth-keys" not in kubectl("get", "secrets", "-n", NAMESPACE, "-o", "name"):
        kubectl("create", "-f", "-", stdin=yaml.safe_dump_all(secrets.make()))
    if "deployment.apps/gateway" not in kubectl("get", "deployments", "-n", NAMESPACE, "-o", "name"):
        deploy("dev")
    return Cluster()
