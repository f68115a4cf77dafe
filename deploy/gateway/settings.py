"""What configures the gateway, from the environment, prefix COMPASS_GATEWAY_; limits are raised for a benchmark."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.settings import JWKS_CACHE_SECONDS, PREFIX, JwksCacheSeconds, TokenClaims

_Rate = Annotated[int, Field(ge=1, le=1_000_000)]

_ORIGIN: Final = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:\d{1,5})?")


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _is_exact_origin(origin: str) -> str:
    if not _ORIGIN.fullmatch(origin):
        raise ValueError(
            f"{origin} is not an origin: scheme, host in lower case, and port where it is not the usual one"
        )
    return origin


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
    headers_seconds: Annotated[int, Field(ge=1, le=60, description="How long the headers may take to arrive.")] = 10
    request_seconds: Annotated[int, Field(ge=1, le=600, description="How long a request may take to arrive.")] = 30
    idle_seconds: Annotated[
        int, Field(ge=1, le=3600, description="A connection without a request, or a stream without a byte, ends then.")
    ] = 60
    connections: Annotated[int, Field(ge=10, le=1_000_000)] = 10_000
    heap_bytes: Annotated[
        int, Field(ge=64 * 1024 * 1024, description="Near it the gateway refuses requests instead of being killed.")
    ] = 512 * 1024 * 1024
    drain_seconds: Annotated[
        int, Field(ge=0, le=600, description="How long requests in flight may take when the gateway is stopped.")
    ] = 5
    trusted_hops: Annotated[
        int, Field(ge=0, le=10, description="Proxies in front whose X-Forwarded-For is believed.")
    ] = 0
    https: Annotated[
        bool, Field(description="Whether people reach it by https, which something in front ends; browsers keep to it.")
    ] = False
    cors_origins: Annotated[
        tuple[Annotated[str, AfterValidator(_is_exact_origin)], ...],
        NoDecode,
        BeforeValidator(_split),
        Field(description="Origins whose pages may call the API, comma-separated, each in full; none but its own."),
    ] = ()
    admin_port: Annotated[
        int | None, Field(ge=1, le=65535, description="On 127.0.0.1, for draining and statistics; none unless set.")
    ] = None
    metrics_port: Annotated[
        int | None,
        Field(ge=1, le=65535, description="GET /metrics and nothing else; none unless set. Not for outside."),
    ] = None


class TokenSettings(TokenClaims):
    """What an access token must say, and how old the keys may be; the same variables as the services'."""

    jwks_cache_seconds: JwksCacheSeconds = JWKS_CACHE_SECONDS
