"""Configuration of the auth service."""

import base64
import binascii
from datetime import timedelta
from typing import Annotated, Final, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from shared.settings import JWKS_CACHE_SECONDS, PREFIX, JwksCacheSeconds, ServiceSettings

KEY_BYTES: Final = 32
_FEWEST_DISTINCT_BYTES: Final = 12
_LOWEST_PRODUCTION_COST: Final = 12
_SHORTEST_PRODUCTION_TOKEN: Final = 30


class AuthSettings(ServiceSettings):
    """What the auth service is configured by."""

    auth_port: Annotated[int, Field(ge=1, le=65535)] = 8104
    key_encryption_key: Annotated[
        SecretStr, Field(description="Base64 of 32 random bytes; encrypts the signing keys in the database.")
    ]
    other_key_encryption_key: Annotated[
        SecretStr | None,
        Field(
            description="A second one that decrypts, while one is replaced by the other: the next or the one before."
        ),
    ] = None
    key_rotation_days: Annotated[
        int, Field(ge=1, le=365, description="So long after the last signing key the next one is made.")
    ] = 30
    jwks_cache_seconds: JwksCacheSeconds = JWKS_CACHE_SECONDS
    access_token_seconds: Annotated[int, Field(ge=5, le=900)] = 300
    session_hours: Annotated[
        int, Field(ge=1, le=720, description="After so long a session ends, however often it was refreshed.")
    ] = 12
    session_idle_minutes: Annotated[
        int, Field(ge=15, le=1440, description="A session that is not refreshed for so long ends.")
    ] = 120
    initial_password_hours: Annotated[
        int, Field(ge=1, le=168, description="An initial password is good for the first login so long.")
    ] = 72
    refresh_grace_seconds: Annotated[
        int, Field(ge=0, le=60, description="A used refresh token may come again so long, for a lost answer.")
    ] = 10
    bcrypt_cost: Annotated[int, Field(ge=4, le=16)] = 12
    password_workers: Annotated[
        int, Field(ge=1, le=16, description="Passwords checked at the same time; each keeps a core busy.")
    ] = 1
    password_queue: Annotated[int, Field(ge=1, le=1000, description="Logins that may wait for their turn.")] = 20

    @property
    def access_token_lifetime(self) -> timedelta:
        """How long an access token is good."""
        return timedelta(seconds=self.access_token_seconds)

    @property
    def session_idle(self) -> timedelta:
        """After how long without a refresh a session ends."""
        return timedelta(minutes=self.session_idle_minutes)

    @property
    def key_publication(self) -> timedelta:
        """How long a key is published before it signs.

        Twice what the gateway keeps its keys for, so that it has read the set again, and a token's life on top.
        """
        return timedelta(seconds=2 * self.jwks_cache_seconds) + self.access_token_lifetime

    @property
    def key_encryption_keys(self) -> list[bytes]:
        """The decoded keys; the first encrypts."""
        keys = [self.key_encryption_key, self.other_key_encryption_key]
        return [base64.b64decode(key.get_secret_value()) for key in keys if key is not None]

    @field_validator("key_encryption_key", "other_key_encryption_key")
    @classmethod
    def _is_a_random_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            key = base64.b64decode(value.get_secret_value(), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("is not base64") from None
        if len(key) != KEY_BYTES:
            raise ValueError(f"decodes to {len(key)} bytes, not {KEY_BYTES}")
        if len(set(key)) < _FEWEST_DISTINCT_BYTES:
            raise ValueError("is not random; make one with: openssl rand -base64 32")
        return value

    @model_validator(mode="after")
    def _refuse_what_only_tests_need(self) -> Self:
        if not self.is_local and self.bcrypt_cost < _LOWEST_PRODUCTION_COST:
            raise ValueError(f"{PREFIX}BCRYPT_COST is below {_LOWEST_PRODUCTION_COST}, which production refuses")
        if not self.is_local and self.access_token_seconds < _SHORTEST_PRODUCTION_TOKEN:
            raise ValueError(f"{PREFIX}ACCESS_TOKEN_SECONDS is below {_SHORTEST_PRODUCTION_TOKEN}: for local use only")
        return self
