"""Configuration of the auth service."""

import base64
import binascii
from datetime import timedelta
from typing import Annotated, Final, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from shared.settings import PREFIX, ServiceSettings

KEY_BYTES: Final = 32
_FEWEST_DISTINCT_BYTES: Final = 12
_LOWEST_PRODUCTION_COST: Final = 12


class AuthSettings(ServiceSettings):
    """What the auth service is configured by."""

    auth_port: Annotated[int, Field(ge=1, le=65535)] = 8104
    key_encryption_key: Annotated[
        SecretStr, Field(description="Base64 of 32 random bytes; encrypts the signing keys in the database.")
    ]
    access_token_seconds: Annotated[int, Field(ge=30, le=900)] = 300
    session_hours: Annotated[
        int, Field(ge=1, le=720, description="After so long a session ends, however often it was refreshed.")
    ] = 12
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
    def key_encryption_key_bytes(self) -> bytes:
        """The decoded key."""
        return base64.b64decode(self.key_encryption_key.get_secret_value())

    @field_validator("key_encryption_key")
    @classmethod
    def _is_a_random_key(cls, value: SecretStr) -> SecretStr:
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
    def _refuse_cheap_hashes(self) -> Self:
        if not self.is_local and self.bcrypt_cost < _LOWEST_PRODUCTION_COST:
            raise ValueError(f"{PREFIX}BCRYPT_COST is below {_LOWEST_PRODUCTION_COST}, which production refuses")
        return self
