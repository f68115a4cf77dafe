"""Names that the manifests and the commands share."""

from pathlib import Path
from typing import Final

from deploy.container import PORTS

NAMESPACE: Final = "quality-compass"
SERVICES: Final = tuple(PORTS)
HERE: Final = Path(__file__).parent
OVERLAYS: Final = tuple(sorted(folder.name for folder in (HERE / "overlays").iterdir()))
TOPICS_FILE: Final = HERE / "overlays" / "production" / "servers" / "topics.yaml"
ALERTS_FILE: Final = HERE / "overlays" / "production" / "front" / "alerts.yaml"
STAGE_LABEL: Final = "quality-compass/stage"
"""What is applied, and waited for, before what: servers, jobs, services."""
