"""Configuration of the workflow service."""

from typing import Annotated

from pydantic import Field

from shared.settings import ServiceSettings


class WorkflowSettings(ServiceSettings):
    """What the workflow service is configured by."""

    workflow_port: Annotated[int, Field(ge=1, le=65535)] = 8102
