"""Configuration of the activity service."""

from typing import Annotated

from pydantic import Field

from shared.settings import ServiceSettings


class ActivitySettings(ServiceSettings):
    """What the activity service is configured by, besides what every service has."""

    activity_port: Annotated[int, Field(ge=1, le=65535)] = 8103
