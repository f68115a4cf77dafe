"""Configuration of the signals service."""

from typing import Annotated

from pydantic import Field

from services.signals.classification import ClassificationSettings
from shared.settings import ServiceSettings


class SignalsSettings(ServiceSettings):
    """What the signals service is configured by.

    Every threshold of the classification is a variable: ``COMPASS_CLASSIFICATION__MAGNITUDE__CRITICAL``.
    """

    signals_port: Annotated[int, Field(ge=1, le=65535)] = 8101
    ingest_members: Annotated[
        int, Field(ge=1, le=6, description="Batches of the engine's signals that one instance stores side by side.")
    ] = 3
    classification: ClassificationSettings = ClassificationSettings()
