"""Configuration of the activity service."""

from typing import Annotated

from pydantic import Field

from shared.settings import ServiceSettings


class ActivitySettings(ServiceSettings):
    """What the activity service is configured by, besides what every service has."""

    activity_port: Annotated[int, Field(ge=1, le=65535)] = 8103
    stream_limit_per_user: Annotated[
        int, Field(ge=1, le=10_000, description="Open streams of the feed that one user may have on one instance.")
    ] = 10
    stream_limit: Annotated[int, Field(ge=1, le=100_000, description="Open streams of the feed on one instance.")] = (
        2000
    )
    stream_stalled_seconds: Annotated[
        float, Field(gt=0, le=3600, description="A stream whose reader takes nothing for so long is cut.")
    ] = 30.0
    export_limit: Annotated[int, Field(ge=1, le=100, description="Exports that run at a time on one instance.")] = 2
