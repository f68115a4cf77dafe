"""Initial passwords: made by the system, read out or copied once, replaced at the first login."""

import secrets
from typing import Final

_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without what looks like something else."""

_GROUPS: Final = 4
_GROUP_LENGTH: Final = 5


def new_initial_password() -> str:
    """About 99 random bits, in groups that a person can read to another."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_GROUP_LENGTH)) for _ in range(_GROUPS))
    return "-".join(groups)
