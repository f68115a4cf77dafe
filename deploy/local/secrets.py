"""Passwords and keys of one local stack: random, kept in its state directory, readable by its owner only."""

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.local.errors import StackError

SERVICES = ("signals", "workflow", "activity", "auth")


@dataclass(frozen=True)
class LocalSecrets:
    """`roles` maps role names (`compass_signals_owner`) to passwords; the key is base64 of 32 bytes."""

    postgres: str
    roles: dict[str, str]
    key_encryption_key: str


def load_or_make(state_dir: Path) -> LocalSecrets:
    """Read the secrets of the state directory, making them first where there are none."""
    path = state_dir / "secrets.json"
    try:
        return LocalSecrets(**json.loads(path.read_text()))
    except FileNotFoundError:
        made = _make()
    except (ValueError, TypeError) as error:
        raise StackError(f"{path} is damaged ({error}): remove the local data with make clean-data") from error
    state_dir.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    # Created with its mode, never readable by others even for a moment.
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(made), file, indent=1)
    unfinished.replace(path)
    return made


def _make() -> LocalSecrets:
    names = [name for service in SERVICES for name in (f"compass_{service}", f"compass_{service}_owner")]
    return LocalSecrets(
        # Hexadecimal, so that they need no quoting in a URL.
        postgres=secrets.token_hex(24),
        roles={name: secrets.token_hex(24) for name in names},
        key_encryption_key=base64.b64encode(secrets.token_bytes(32)).decode(),
    )
