"""Text from outside that PostgreSQL can hold."""

from typing import Annotated

from pydantic import AfterValidator


def _is_storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must not hold a lone surrogate") from None
    return text


StorableText = Annotated[str, AfterValidator(_is_storable)]
"""Unicode without NUL and without halves of surrogate pairs, which JSON and query strings can hold all the same."""
