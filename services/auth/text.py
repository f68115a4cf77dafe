"""Texts that people give: what of it can be hashed, or be an address."""

from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

from shared.text import StorableText

FEWEST_PASSWORD_BYTES: Final = 12
MOST_PASSWORD_BYTES: Final = 72
"""What bcrypt takes in; it would ignore or refuse the rest."""


def _fits_bcrypt(password: str) -> str:
    if len(password.encode()) > MOST_PASSWORD_BYTES:
        raise ValueError(f"must be at most {MOST_PASSWORD_BYTES} bytes long")
    return password


def _is_long_enough(password: str) -> str:
    if len(password.encode()) < FEWEST_PASSWORD_BYTES:
        raise ValueError(f"must be at least {FEWEST_PASSWORD_BYTES} bytes long")
    return password


EmailAddress = Annotated[StorableText, StringConstraints(max_length=255, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
"""The address of an account. That it has the form of one is all that can be known without writing to it."""

GivenPassword = Annotated[StorableText, StringConstraints(min_length=1), AfterValidator(_fits_bcrypt)]
"""A password that somebody logs in with."""

NewPassword = Annotated[GivenPassword, AfterValidator(_is_long_enough)]
"""A password that somebody chooses."""
