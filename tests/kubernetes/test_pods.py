"""What every pod is run as: locked down, limited, spread, probed where it really answers."""

import re
import tomllib
from pathlib import Path

from deploy.container import PORTS, is_command
from deploy.kubernetes.places import NAMESPACE
from shared import app
from tests.kubernetes.manifests import BEHIND_THE_GATEWAY, SERVICES, Overlay, label

ROOT = Path(__file__).parents[2]
# Its start script writes settings beside the program; only to try things.
WRITABLE = {"kafka/kafka"}
NAMES_CACHED_SECONDS = 35
"""By cluster DNS for 30, and the gateway looks every 5."""


def test_the_namespace_admits_only_restricted_pods(overlay: Overlay) -> None:
    labels = overlay.one("Namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_everything_lives_in_the_one_namespace(overlay: Overlay) -> None:
    elsewhere = [
        document["metadata"]["name"]
        for document in overlay.documents
        if document["kind"] != "Namespace" and document["metadata"].get("namespace") != NAMESPACE
    ]
    assert elsewhere == []


def test_no_container_has_rights_that_it_does_not_need(overlay: Overlay) -> None:
    for name, spec, container in overlay.containers:
        context = spec["securityContext"] | container["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] >= 100, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert context["allowPrivilegeEscalation"] is False, name
        assert context["capabilities"] == {"drop": ["ALL"]}, name
        assert context.get("readOnlyRootFilesystem") is True or name in WRITABLE, name
        assert not any(spec.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC")), name
        assert not any("hostPath" in volume for volume in spec.get("volumes", ())), name


def test_every_pod_has_an_account_of_its_own_without_a_token(overlay: Overlay) -> None:
    accounts = {document["metadata"]["name"]: document for document in overlay.kind("ServiceAccount")}
    used = [template["spec"]["serviceAccountName"] for _, template in overlay.pods]
    assert sorted(used) == sorted(set(used)) == sorted(accounts)
    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())
    assert all(template["spec"]["automountServiceAccountToken"] is False for _, template in overlay.pods)
    assert all(template["spec"]["enableServiceLinks"] is False for _, template in overlay.pods)


def test_every_container_has_requests_and_a_limit_of_memory(overlay: Overlay) -> None:
    for name, _, container in overlay.containers:
        resources = container["resources"]
        assert set(resources["requests"]) == {"cpu", "memory"}, name
        assert "memory" in resources["limits"], name


def test_images_are_pinned_and_ours_is_of_this_version(overlay: Overlay) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name, _, container in overlay.containers:
        assert re.fullmatch(r"[a-z/-]+(:v?\d[\w.]*|@sha256:[0-9a-f]{64})", container["image"]), name
        if container["image"].startswith("quality-compass"):
            assert container["image"] == f"quality-compass:{version}", name


def test_what_the_image_is_told_to_do_it_can_do(overlay: Overlay) -> None:
    for name, _, container in overlay.containers:
        if not container["image"].startswith("quality-compass"):
            continue
        assert "command" not in container, name
        match container["args"]:
            case [service] | ["migrate", service] if service in SERVICES:
                pass
            case ["topics"] | ["gateway", "--output", _]:
                pass
            case [service, command]:
                assert is_command(service, command), name
            case other:
                raise AssertionError(f"{name}: {other}")


def test_services_are_probed_where_they_answer(overlay: Overlay) -> None:
    paths = {route.path for route in app._operations.routes}  # type: ignore[attr-defined]
    for service in SERVICES:
        deployment = overlay.one("Deployment", service)
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["args"] == [service]
        assert container["ports"] == [{"name": "http", "containerPort": PORTS[service]}]
        probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        assert {probe["path"] for probe in probes.values()} <= paths
        assert [probes[kind]["path"] for kind in probes] == ["/healthz", "/healthz", "/readyz/requests"]
        assert {probe["port"] for probe in probes.values()} == {"http"}
        (port,) = overlay.one("Service", service)["spec"]["ports"]
        assert (port["port"], port["targetPort"]) == (PORTS[service], "http")


def test_whoever_is_stopped_serves_until_nobody_is_sent_there_any_more(overlay: Overlay) -> None:
    for name in BEHIND_THE_GATEWAY:
        deployment = overlay.one("Deployment", name)["spec"]
        assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        spec = deployment["template"]["spec"]
        hook = spec["containers"][0]["lifecycle"]["preStop"]
        if name == "gateway":
            # Behind a virtual address, which leaves out who ends within moments.
            waits = int(hook["exec"]["command"][-1].rpartition("sleep ")[2])
            assert waits >= 10
        else:
            waits = hook["sleep"]["seconds"]
            assert waits >= NAMES_CACHED_SECONDS
            assert deployment["minReadySeconds"] >= NAMES_CACHED_SECONDS, (
                "no look finds only others than the one before"
            )
        assert spec["terminationGracePeriodSeconds"] >= waits + 20


def test_there_are_two_of_each_apart_from_each_other_and_one_stays(overlay: Overlay) -> None:
    scaled = {
        document["spec"]["scaleTargetRef"]["name"]: document["spec"]["minReplicaCount"]
        for document in overlay.kind("ScaledObject")
    }
    for name in BEHIND_THE_GATEWAY:
        deployment = overlay.one("Deployment", name)["spec"]
        assert deployment.get("replicas", scaled.get(name)) == 2
        assert ("replicas" in deployment) == (name not in scaled), "KEDA alone says how many there are"
        own = deployment["selector"]["matchLabels"]
        labels = deployment["template"]["metadata"]["labels"]
        spread = deployment["template"]["spec"]["topologySpreadConstraints"]
        assert [rule["topologyKey"] for rule in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        assert all(own.items() <= rule["labelSelector"]["matchLabels"].items() <= labels.items() for rule in spread)
        budget = overlay.one("PodDisruptionBudget", name)["spec"]
        assert (
            budget["maxUnavailable"],
            own.items() <= budget["selector"]["matchLabels"].items() <= labels.items(),
        ) == (1, True)


def test_pods_are_told_apart_by_tier(overlay: Overlay) -> None:
    tiers = {label(template) for _, template in overlay.pods}
    assert tiers >= {"service", "gateway", "schema"}
    # A Service that selected pods of another kind would send requests to them.
    for document in overlay.kind("Service"):
        selector = document["spec"]["selector"]
        chosen = [name for name, template in overlay.pods if selector.items() <= template["metadata"]["labels"].items()]
        assert len(chosen) == 1, document["metadata"]["name"]
