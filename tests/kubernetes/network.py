"""What NetworkPolicies allow, by the API's rules: policies add up, and a pod that one selects has nothing else."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tests.kubernetes.manifests import Manifest

Labels = Mapping[str, str]

OWN_NAMESPACE: Final = "quality-compass"


def matches(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """Whether a label selector chooses something with these labels; an empty one chooses all."""
    selector = selector or {}
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for rule in selector.get("matchExpressions", ()):
        assert rule["operator"] == "In", rule
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return True


def allows(
    policies: Iterable[Manifest],
    direction: str,
    pod: Labels,
    peer: Labels,
    port: object,
    namespace: str = OWN_NAMESPACE,
) -> bool:
    """Whether the policies let the pod have ingress from, or egress to, a peer with these labels in a namespace."""
    return any(
        _peer_fits(rule.get("from" if direction == "Ingress" else "to"), peer, namespace)
        and ("ports" not in rule or port in [entry["port"] for entry in rule["ports"]])
        for policy in policies
        if direction in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], pod)
        for rule in policy["spec"].get(direction.lower(), ())
    )


def _peer_fits(peers: Iterable[Mapping[str, Any]] | None, labels: Labels, namespace: str) -> bool:
    if peers is None:
        return True
    for peer in peers:
        assert "ipBlock" not in peer
        inside = (
            matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": namespace})
            if "namespaceSelector" in peer
            else namespace == OWN_NAMESPACE
        )
        if inside and matches(peer.get("podSelector"), labels):
            return True
    return False
