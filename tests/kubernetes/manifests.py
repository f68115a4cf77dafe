"""Rendered manifests, as the tests read them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from deploy.container import PORTS

Manifest = dict[str, Any]

WORKLOADS: Final = ("Deployment", "StatefulSet", "Job")
SERVICES: Final = tuple(PORTS)
BEHIND_THE_GATEWAY: Final = {*SERVICES, "gateway"}


@dataclass(frozen=True)
class Overlay:
    """One overlay, rendered."""

    name: str
    documents: Sequence[Manifest]

    def kind(self, *kinds: str) -> list[Manifest]:
        """All of these kinds."""
        return [document for document in self.documents if document["kind"] in kinds]

    def one(self, kind: str, name: str) -> Manifest:
        """The one of this kind and name."""
        (found,) = [document for document in self.kind(kind) if document["metadata"]["name"] == name]
        return found

    @property
    def pods(self) -> list[tuple[str, Manifest]]:
        """The name and the pod template of everything that runs pods of its own."""
        return [(document["metadata"]["name"], document["spec"]["template"]) for document in self.kind(*WORKLOADS)]

    @property
    def containers(self) -> Iterator[tuple[str, Manifest, Manifest]]:
        """Each container, init containers too, with its pod's spec and a name to call it by."""
        for name, template in self.pods:
            spec = template["spec"]
            for container in (*spec.get("initContainers", ()), *spec["containers"]):
                yield f"{name}/{container['name']}", spec, container


def environment(overlay: Overlay, container: Manifest) -> dict[str, str | None]:
    """Every variable that a container is given; None for a value that comes from a secret."""
    given: dict[str, str | None] = {}
    for source in container.get("envFrom", ()):
        given |= overlay.one("ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container.get("env", ()):
        given[variable["name"]] = variable.get("value")
    return given


def label(template: Manifest, name: str = "quality-compass/tier") -> str:
    """A label of a pod template."""
    value: str = template["metadata"]["labels"][name]
    return value
