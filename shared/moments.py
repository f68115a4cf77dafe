"""Moments from outside: RFC 3339, with an offset."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AwareDatetime, BeforeValidator

_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _moment(value: object) -> object:
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise ValueError("must be a date and time as in RFC 3339, with an offset, in the years 1 to 9999")


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
"""A moment in UTC. Pydantic alone would also take numbers, dates and text without an offset."""
