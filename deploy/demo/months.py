"""Month numbers and what they look like in messages and to people."""

from calendar import month_name
from datetime import UTC, datetime

from shared.statistics import month_number


def month_from_text(text: str) -> int:
    """The number of a month like `2017-06`; raises ValueError for anything else, and outside 1900 to 2100."""
    number = month_number(text)
    if not 1900 <= number // 12 <= 2100:
        raise ValueError(f"{text!r} is not between the years 1900 and 2100")
    return number


def period(month: int) -> str:
    """`2017-06`."""
    return f"{month // 12:04}-{month % 12 + 1:02}"


def spoken(month: int) -> str:
    """`June 2017`."""
    return f"{month_name[month % 12 + 1]} {month // 12}"


def month_after(month: int) -> datetime:
    """The first instant of the next month, UTC: when the figures of a month are complete."""
    return datetime((month + 1) // 12, (month + 1) % 12 + 1, 1, tzinfo=UTC)
