"""Who may talk to whom: exactly the list below, and nobody else."""

from itertools import product

import pytest

from tests.kubernetes.manifests import SERVICES, Overlay
from tests.kubernetes.network import allows, matches

TIER = "quality-compass/tier"
PORTS: dict[str, object] = {"service": "http", "gateway": "http", "database": 5432, "broker": 9092}
TIERS = ("gateway", "service", "schema", "topics", "engine", "database", "broker", "stranger")
ALLOWED = {
    ("gateway", "service"),
    ("service", "database"),
    ("service", "broker"),
    ("schema", "database"),
    ("topics", "broker"),
    ("engine", "broker"),
}
# The door is open to all that have a way out of their own.
TO_THE_DOOR = {(tier, "gateway") for tier in TIERS}


def labels(tier: str) -> dict[str, str]:
    """A pod of a tier."""
    return {TIER: tier}


def test_nothing_is_allowed_unless_said(overlay: Overlay) -> None:
    spec = overlay.one("NetworkPolicy", "default-deny")["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize(("source", "target"), list(product(TIERS, PORTS)))
def test_who_may_talk_to_whom(overlay: Overlay, source: str, target: str) -> None:
    if overlay.name == "production" and source == target == "database":
        pytest.skip("instances copy from each other there")
    policies = overlay.kind("NetworkPolicy")
    out = allows(policies, "Egress", labels(source), labels(target), PORTS[target])
    in_ = allows(policies, "Ingress", labels(target), labels(source), PORTS[target])
    assert in_ is ((source, target) in ALLOWED | TO_THE_DOOR)
    assert (out and in_) is ((source, target) in ALLOWED)


@pytest.mark.parametrize("tier", TIERS)
def test_everybody_may_look_up_names_and_nothing_else_there(overlay: Overlay, tier: str) -> None:
    policies, dns = overlay.kind("NetworkPolicy"), {"k8s-app": "kube-dns"}
    assert allows(policies, "Egress", labels(tier), dns, 53, "kube-system")
    assert not allows(policies, "Egress", labels(tier), {"k8s-app": "other"}, 53, "kube-system")
    assert not allows(policies, "Egress", labels(tier), dns, 53, "elsewhere")


@pytest.mark.parametrize("namespace", ["default", "keda", "monitoring", "cnpg-system"])
def test_other_namespaces(overlay: Overlay, namespace: str) -> None:
    policies = overlay.kind("NetworkPolicy")
    reached = {tier for tier, port in PORTS.items() if allows(policies, "Ingress", labels(tier), {}, port, namespace)}
    expected = {"default": set(), "keda": {"broker"}, "monitoring": {"service"}, "cnpg-system": set()}[namespace]
    if overlay.name == "production" and namespace == "cnpg-system":
        expected = {"database"}
    assert reached == expected | {"gateway"}


def test_metrics_are_for_what_scrapes_them_and_spans_go_there(overlay: Overlay) -> None:
    policies = overlay.kind("NetworkPolicy")
    for tier in TIERS:
        assert not allows(policies, "Ingress", labels("gateway"), labels(tier), "metrics")
    assert allows(policies, "Ingress", labels("gateway"), {}, "metrics", "monitoring")
    assert not allows(policies, "Ingress", labels("gateway"), {}, "metrics", "default")
    for tier in ("gateway", "service"):
        assert allows(policies, "Egress", labels(tier), {}, 4318, "monitoring")
        assert not allows(policies, "Egress", labels(tier), {}, 4318, "default")


def test_no_service_reaches_another(overlay: Overlay) -> None:
    policies = overlay.kind("NetworkPolicy")
    templates = {name: template["metadata"]["labels"] for name, template in overlay.pods}
    for source, target in product(SERVICES, SERVICES):
        assert not allows(policies, "Egress", templates[source], templates[target], "http")
        assert not allows(policies, "Ingress", templates[target], templates[source], "http")
        assert not allows(policies, "Egress", templates[source], templates["gateway"], "http")


def test_named_ports_are_those_of_the_pods(overlay: Overlay) -> None:
    for policy in overlay.kind("NetworkPolicy"):
        named = {
            entry["port"]
            for rule in policy["spec"].get("ingress", ())
            for entry in rule.get("ports", ())
            if isinstance(entry["port"], str)
        }
        for name, template in overlay.pods:
            if not matches(policy["spec"]["podSelector"], template["metadata"]["labels"]) or not named:
                continue
            ports = {
                port["name"] for container in template["spec"]["containers"] for port in container.get("ports", ())
            }
            assert named <= ports, (policy["metadata"]["name"], name)
