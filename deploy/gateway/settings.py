"""Limits of the gateway, from the environment, prefix COMPASS_GATEWAY_; raised for a benchmark."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.settings import PREFIX

_Rate = Annotated[int, Field(ge=1, le=1_000_000)]


class GatewaySettings(BaseSettings):
    """What the gateway lets through. Bursts may be twice as large as the rates."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}GATEWAY_", frozen=True, extra="ignore")

    requests_per_second: _Rate = 5000
    requests_per_second_and_address: _Rate = 300
    requests_per_second_and_token: _Rate = 100
    logins_per_minute_and_address: Annotated[
        int, Field(ge=1, le=1_000_000, description="A whole hospital may share an address.")
    ] = 60
    largest_request_bytes: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 1024 * 1024
    connections: Annotated[int, Field(ge=10, le=1_000_000)] = 10_000
    trusted_hops: Annotated[
        int, Field(ge=0, le=10, description="Proxies in front whose X-Forwarded-For is believed.")
    ] = 0
    admin_port: Annotated[
        int | None, Field(ge=1, le=65535, description="On 127.0.0.1, for draining and statistics; none unless set.")
    ] = None


class TokenSettings(BaseSettings):
    """What an access token must say; the same variables as the services'."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}TOKEN_", frozen=True, extra="ignore")

    issuer: str = "quality-compass"
    audience: str = "quality-compass"
