"""Configuration from the environment, prefix ``COMPASS_``, checked once at start."""

import sys
from enum import StrEnum
from typing import Annotated, Final, Self, TypeVar

from pydantic import Field, PostgresDsn, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "COMPASS_"


class Environment(StrEnum):
    """Where a process runs. Only ``local`` knows demo users and default secrets."""

    PRODUCTION = "production"
    LOCAL = "local"


JwksCacheSeconds = Annotated[
    int, Field(ge=1, le=3600, description="How long the gateway goes on with the public keys that it has read.")
]
JWKS_CACHE_SECONDS: Final = 60


class TokenClaims(BaseSettings):
    """What access tokens say of where they are from and for: the same for who issues and for all who verify them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    token_issuer: str = "quality-compass"  # noqa: S105 - a name, no secret
    token_audience: str = "quality-compass"  # noqa: S105


class ServiceSettings(TokenClaims):
    """What every service is configured by; each service adds its own port and rules."""

    model_config = SettingsConfigDict(env_nested_delimiter="__")

    environment: Environment = Environment.PRODUCTION
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"
    bind_host: str = "127.0.0.1"
    database_url: Annotated[PostgresDsn, Field(description="With the runtime role, which owns nothing.")]
    database_pool_size: Annotated[int, Field(ge=2, le=100)] = 10
    statement_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    kafka_bootstrap_servers: Annotated[str, Field(min_length=1, description="host:port, comma-separated.")]
    consumer_batch_size: Annotated[int, Field(ge=1, le=10_000)] = 1000
    stuck_consumer_seconds: Annotated[
        float, Field(ge=5, description="A consumer with messages waiting and no progress for so long is made anew.")
    ] = 30.0
    outbox_batch_size: Annotated[int, Field(ge=1, le=10_000)] = 1000
    outbox_acknowledge_seconds: Annotated[
        float, Field(ge=1, description="How long Kafka may take to acknowledge a message before it is sent again.")
    ] = 20.0
    access_refresh_seconds: Annotated[
        float, Field(gt=0, le=2, description="How old the known keys and revocations may be.")
    ] = 1.0

    @property
    def is_local(self) -> bool:
        """Whether demo users and local defaults are allowed."""
        return self.environment is Environment.LOCAL

    @model_validator(mode="after")
    def _refuse_default_passwords(self) -> Self:
        for host in self.database_url.hosts():
            password = host["password"]
            if not self.is_local and password in (None, "", "compass", "postgres", "password", "change-me"):
                raise ValueError(f"{PREFIX}DATABASE_URL has no password or a default one, which production refuses")
        return self


Settings = TypeVar("Settings", bound=BaseSettings)


def load(settings_class: type[Settings]) -> Settings:
    """Read the settings, or stop the process with one line for each variable that is missing or bad."""
    try:
        return settings_class()
    except ValidationError as error:
        prefix = settings_class.model_config.get("env_prefix") or PREFIX
        for problem in error.errors():
            variable = prefix + "__".join(str(part) for part in problem["loc"]).upper()
            name = variable if problem["loc"] else settings_class.__name__
            print(f"{name}: {problem['msg']}", file=sys.stderr)  # noqa: T201 - before logging exists
        raise SystemExit(2) from None
