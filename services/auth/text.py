"""Texts that people give: what of it can be hashed, or be an address."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

from shared.text import StorableText

FEWEST_PASSWORD_BYTES: Final = 12
MOST_PASSWORD_BYTES: Final = 72
"""What bcrypt takes in; it would ignore or refuse the rest."""

MOST_CHARACTERS: Final = 255
_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def _fits_bcrypt(password: str) -> str:
    if len(password.encode()) > MOST_PASSWORD_BYTES:
        raise ValueError(f"must be at most {MOST_PASSWORD_BYTES} bytes long")
    return password


def _is_long_enough(password: str) -> str:
    if len(password.encode()) < FEWEST_PASSWORD_BYTES:
        raise ValueError(f"must be at least {FEWEST_PASSWORD_BYTES} bytes long")
    return password


def _is_an_address(email: str) -> str:
    lowered = email.lower()
    if not _ADDRESS.fullmatch(lowered) or not lowered.isprintable():
        raise ValueError("is not an e-mail address")
    if len(lowered) > MOST_CHARACTERS:
        raise ValueError(f"must be at most {MOST_CHARACTERS} characters long")
    return lowered


def _is_a_name(name: str) -> str:
    stripped = name.strip()
    if not stripped or not stripped.isprintable():
        raise ValueError("must be a name on one line")
    return stripped


EmailAddress = Annotated[StorableText, StringConstraints(max_length=MOST_CHARACTERS), AfterValidator(_is_an_address)]
"""The address of an account, in lower case. That it has the form of one is all that is known without writing to it."""

PersonName = Annotated[StorableText, StringConstraints(max_length=MOST_CHARACTERS), AfterValidator(_is_a_name)]
"""What a person is called, without blanks around it."""

GivenPassword = Annotated[StorableText, StringConstraints(min_length=1), AfterValidator(_fits_bcrypt)]
"""A password that somebody logs in with."""

NewPassword = Annotated[GivenPassword, AfterValidator(_is_long_enough)]
"""A password that somebody chooses."""
