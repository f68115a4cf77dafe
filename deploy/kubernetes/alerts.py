"""The Prometheus operator's PrometheusRule, from the rules that compose's Prometheus reads."""

from typing import Final

import yaml

from deploy.kubernetes.places import HERE

RULES: Final = HERE.parent / "observability" / "alerts.yaml"

_HEADER: Final = """\
# Made from deploy/observability/alerts.yaml: python -m deploy.kubernetes alerts. make check finds it out of date.
"""


def render() -> str:
    """All alerts as one resource."""
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "quality-compass"},
        "spec": yaml.safe_load(RULES.read_text(encoding="utf-8")),
    }
    return _HEADER + yaml.safe_dump(resource, sort_keys=False, width=120)
