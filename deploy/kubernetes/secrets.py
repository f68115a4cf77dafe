"""Random secrets for a cluster to try things in: what the manifests refer to and git never has."""

import base64
import secrets
from typing import Any, Final

from deploy.kubernetes.places import NAMESPACE, SERVICES

_PASSWORD_BYTES: Final = 24
_KEY_BYTES: Final = 32


def make() -> list[dict[str, Any]]:
    """Every Secret that the dev overlay needs; other values each time, so create them once and keep them."""
    roles = [role for service in SERVICES for role in (service, f"{service}_owner")]
    return [
        _secret("postgres-superuser", username="postgres", password=_password()),
        *(
            _secret(f"database-{role.replace('_', '-')}", username=f"compass_{role}", password=_password())
            for role in roles
        ),
        _secret("auth-keys", **{"key-encryption-key": base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()}),
    ]


def _password() -> str:
    # Hexadecimal: it becomes part of a URL as it is.
    return secrets.token_hex(_PASSWORD_BYTES)


def _secret(name: str, **values: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "type": "Opaque",
        "stringData": values,
    }
